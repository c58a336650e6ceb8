"""A region's keys for tests: a wrapping-key file, a ring over a bucket, and the encrypted store over both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.archive.adapters.rgw_store import RgwStore
from services.archive.encryption.customer_keys import CustomerKeys
from services.archive.encryption.key_ring import KeyRing
from services.archive.encryption.ports import KeyRegister
from services.archive.encryption.wrapping_keys import FileKeyProvider, WrappingKeys

MADE_AT = "2026-01-01T00:00:00.000000Z"


class TurnedClock:
    """A clock that moves only when a test turns it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def turn(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def write_wrapping_keys(path: Path, keys: WrappingKeys | None = None, region: str = "local") -> WrappingKeys:
    """The file that the provider reads."""
    keys = keys or WrappingKeys.generate(region, MADE_AT)
    path.write_bytes(keys.document())
    return keys


@dataclass
class Region:
    """One archive process's view of a region's keys; several of them over one `client` are replicas."""

    client: Any
    wrapping_keys: Path
    clock: TurnedClock
    register: KeyRegister | None = None
    bucket: str = "packs"

    def __post_init__(self) -> None:
        self.clear = RgwStore(self.client, self.bucket)
        self.ring = KeyRing(
            "local",
            FileKeyProvider(self.wrapping_keys, "local"),
            self.clear,
            self.clock,
            self.register,
        )
        self.keys = CustomerKeys(self.ring)
        self.store = self.clear.encrypted(self.keys)
