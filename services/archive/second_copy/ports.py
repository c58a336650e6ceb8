"""What waits for the second copy, as a Protocol: committed packs of which none is known to be there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Due:
    """A pack that waits."""

    pack_id: str
    object_key: str
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many packs wait, and since when the oldest does."""

    packs: int
    oldest: datetime | None


class CopyQueue(Protocol):
    """Every method may raise `services.archive.errors.IndexUnavailable`. A new index has everything due."""

    def lead(self) -> bool:
        """Whether this process is the one that copies; it stays so until it ends or loses the database."""

    def due(self, limit: int, after: Due | None) -> Sequence[Due]:
        """The next packs behind `after`, those committed first before the others."""

    def done(self, pack_ids: Collection[str]) -> None:
        """They are at the second site."""

    def again(self, pack_ids: Collection[str]) -> None:
        """They are not, whatever was noted."""

    def waiting(self) -> Waiting:
        """What is due now."""
