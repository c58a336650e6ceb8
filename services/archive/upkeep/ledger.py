"""What upkeep asks of the index: its packs in the order of their keys, and where it says that instances lie."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack as the index knows it; one that is retired may lose its object at any moment."""

    pack_id: str
    object_key: str
    length: int
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where the index says that one version of an instance lies in its pack."""

    sop_instance_uid: str
    digest: str
    offset: int
    length: int


class Ledger(Protocol):
    """Every method may raise `services.archive.errors.IndexUnavailable`. Keys are ordered by their bytes."""

    def totals(self) -> tuple[int, int]:
        """How many packs there are that are not removed, and their bytes."""

    def packs(self, after: str, limit: int) -> list[PackRow]:
        """The next packs whose keys come after `after` and whose objects were not removed."""

    def pack(self, object_key: str) -> PackRow | None:
        """The pack under this key, also a removed one; None where the index has none."""

    def places(self, pack_ids: Collection[str]) -> dict[str, list[Place]]:
        """By pack, the places of all versions that the index finds in it."""

    def documents(self, after: str, limit: int) -> list[str]:
        """The keys of the next documents (tombstones) that have rows, after the key `after`."""
