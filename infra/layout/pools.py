"""Ceph pools: what a pool needs of the cluster, and how much it leaves usable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FailureDomain = Literal["host", "osd"]

# Ceph stops writing at 95 % and warns at 85 % (mon_osd_nearfull_ratio): plan with the lower.
NEARFULL = 0.85


class PoolError(ValueError):
    """A pool cannot be placed on the nodes and devices there are; the text says what to change."""


@dataclass(frozen=True)
class Pool:
    """`data` chunks and `coding` more. Replication is data = 1, coding = copies - 1."""

    data: int
    coding: int

    @classmethod
    def replicated(cls, size: int) -> Pool:
        return cls(data=1, coding=size - 1)

    @property
    def width(self) -> int:
        """How many different failure domains each object lies on."""
        return self.data + self.coding

    @property
    def needed(self) -> int:
        """How many failure domains must be there for a write: one more than the least that can be read back."""
        return min(self.width, self.data + 1)

    def usable(self, raw_bytes: int) -> int:
        """Bytes of objects that `raw_bytes` of devices hold before Ceph warns."""
        return int(raw_bytes * NEARFULL * self.data / self.width)


def check_pool(name: str, pool: Pool, failure_domain: FailureDomain, *, nodes: int, devices: int) -> None:
    """Every chunk of an object needs a failure domain of its own, and of several nodes one may fail.

    Raises PoolError.
    """
    domains = nodes if failure_domain == "host" else devices
    noun = "storage nodes" if failure_domain == "host" else "devices"
    if pool.width > domains:
        kind = f"{pool.width} copies" if pool.data == 1 else f"erasure coding {pool.data}+{pool.coding}"
        raise PoolError(
            f"object_store.{name}: got {kind} over {domains} {noun}; allowed: at most {domains} in all. "
            f"Add {pool.width - domains} {noun}, or lower the pool"
        )
    if pool.data > 1 and pool.coding < 1:
        raise PoolError(
            f"object_store.{name}: got coding 0; allowed: at least 1, or losing one disk loses images"
        )
    if nodes > 1 and pool.data + pool.coding - 1 < pool.needed:
        kind = f"{pool.width} copies" if pool.data == 1 else f"erasure coding {pool.data}+{pool.coding}"
        least = "3 copies" if pool.data == 1 else f"erasure coding {pool.data}+2"
        raise PoolError(
            f"object_store.{name}: got {kind}, which takes no write while one of the {noun} is away; allowed: "
            f"at least {least}, so that one may fail. Raise the pool, or add {noun} that it needs"
        )
