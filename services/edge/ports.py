"""What the edge needs from outside: the centre, a judge of receipts, a ledger to project into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.packs.pack import Footer


@dataclass(frozen=True, slots=True)
class Commitment:
    """What the verified receipts of one pack say together."""

    pack_id: str
    epoch: int
    committed_at: datetime


class Centre(Protocol):
    """Contracts section 7, from the branch's side. Every call raises LineDown, PackRefused or returns."""

    def receipts(self, pack_id: str) -> list[str] | None:
        """The receipts of a pack that the centre has committed, else None."""

    def put(self, pack_id: str, path: Path) -> list[str]:
        """Send a pack; the receipts come back once it is committed. Bytes are streamed, never held."""


class ReceiptJudge(Protocol):
    """Contracts section 8, from the branch's side."""

    def verify(self, footer: Footer, receipts: Sequence[str]) -> Commitment:
        """Check that `receipts` prove every instance of `footer` committed. Raises ReceiptRejected."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One pack as the files tell it: what is in it, and what has become of it."""

    footer: Footer
    forwarded_at: datetime | None
    commitment: Commitment | None


class Ledger(Protocol):
    """A projection of packs and receipts into rows, for support and reports; never the truth.

    Every call may raise LedgerDown; nothing else depends on it.
    """

    def known(self) -> dict[str, bool]:
        """Pack id -> whether its rows say committed."""

    def record(self, entries: Iterable[LedgerEntry]) -> None:
        """Bring the rows of these packs up to date; the same entries again change nothing."""


class LedgerDown(Exception):
    """The ledger's database does not answer."""
