"""The sweep: objects that nothing needs go, objects that the index lacks are entered, broken uploads are ended.

An object is removed only where it provably holds nothing that is needed: a retired pack whose living instances lie
in other packs that are there, or bytes that neither begin nor end as a pack. All else is listed and left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from services.archive.commit import ArchiveSink
from services.archive.errors import translate_store
from services.archive.index.rebuild import PREFIX, stored_footer
from services.archive.ports import ObjectDamaged, ObjectMissing, ObjectStore
from services.archive.upkeep.ledger import PackRow
from services.common.clock import Clock
from services.packs.pack import END, MAGIC, TRAILER, PackError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetiredPack:
    """A pack that compaction replaced; `removed` when its object was taken away already."""

    pack_id: str
    object_key: str
    removed: bool


class SweepLedger(Protocol):
    """What a sweep asks of the index. Every method may raise `IndexUnavailable`."""

    def alone(self) -> AbstractContextManager[None]:
        """See `CompactionLedger.alone`."""

    def pack(self, object_key: str) -> PackRow | None:
        """See `Ledger.pack`."""

    def retired_packs(self, before: datetime) -> list[RetiredPack]:
        """The packs that were retired before this moment."""

    def is_needed(self, pack_id: str) -> bool:
        """Whether a row points into this pack."""

    def homes(
        self, institution: str, versions: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[str, int]]:
        """Of those versions that the index has: key and length of the pack in which each lies."""

    def mark_removed(self, pack_id: str) -> None:
        """The pack's object is gone; its row stays for the receipts."""


@dataclass(slots=True)
class Swept:
    """What a sweep did; `left` are objects that somebody has to look at."""

    removed_packs: int = 0
    removed_rubbish: int = 0
    entered: int = 0
    ended_uploads: int = 0
    left: list[dict[str, str]] = field(default_factory=list)


class Sweep:
    """One sweep. `grace` is how long a reader may go on with what it was told, and a writer may take for its rows."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: SweepLedger,
        sink: ArchiveSink,
        clock: Clock,
        *,
        grace: timedelta,
        step: Callable[[Swept], None] = lambda _: None,
    ) -> None:
        self._store, self._ledger, self._sink, self._clock = store, ledger, sink, clock
        self._grace, self._step = grace, step

    def run(self) -> Swept:
        """Raises `IndexUnavailable`, `StoreAway` or `Busy`; run again, it goes on."""
        done, before = Swept(), self._clock.now() - self._grace
        with self._ledger.alone(), translate_store():
            for pack in self._ledger.retired_packs(before):
                self._retired(pack, done)
                self._step(done)
            for key in self._store.list(PREFIX):
                if self._ledger.pack(key) is None and self._is_older(key, before):
                    self._orphan(key, done)
                    self._step(done)
            done.ended_uploads = self._store.end_unfinished(before)
        return done

    def _is_older(self, key: str, before: datetime) -> bool:
        try:
            return self._store.modified(key) <= before
        except ObjectMissing:
            return False

    def _retired(self, pack: RetiredPack, done: Swept) -> None:
        """Object first, then the row: in between it is retired still, and the next sweep does the rest."""
        if pack.removed and not self._store.exists(pack.object_key):
            return
        reason = self._needed_because(pack)
        if reason is not None:
            self._leave(pack.object_key, reason, done)
            return
        self._store.delete(pack.object_key)
        self._ledger.mark_removed(pack.pack_id)
        done.removed_packs += 1

    def _needed_because(self, pack: RetiredPack) -> str | None:
        """Why a retired pack must stay, None where nothing needs it."""
        if self._ledger.is_needed(pack.pack_id):
            return "retired, but a row points into it"
        try:
            footer, _ = stored_footer(self._store, pack.object_key)
        except ObjectMissing:
            return None
        except (PackError, ObjectDamaged):
            return "retired, but it cannot be read: what it held cannot be compared"
        versions = [(one.sop_instance_uid, one.digest) for one in footer.instances]
        for key, length in set(self._ledger.homes(footer.institution, versions).values()):
            if not self._holds(key, length):
                return f"retired, but {key}, which took its place, is not there whole"
        return None

    def _holds(self, key: str, length: int) -> bool:
        try:
            return self._store.size(key) == length
        except ObjectMissing:
            return False

    def _orphan(self, key: str, done: Swept) -> None:
        try:
            footer, length = stored_footer(self._store, key)
        except ObjectMissing:
            return
        except (PackError, ObjectDamaged) as error:
            self._unsound(key, str(error), done)
            return
        try:
            self._sink.enter_stored(footer, length)
        except PackError as error:
            self._leave(key, str(error), done)
        else:
            done.entered += 1

    def _unsound(self, key: str, reason: str, done: Swept) -> None:
        size = self._store.size(key)
        begins = self._store.read(key, 0, min(size, len(MAGIC))) == MAGIC[:size]
        ends = size >= TRAILER.size and self._store.read(key, size - len(END), len(END)) == END
        if size and (begins or ends):
            self._leave(key, f"perhaps a damaged pack: {reason}", done)
            return
        self._store.delete(key)
        done.removed_rubbish += 1
        _log.warning("removed an object that is no pack", extra={"action": key})

    @staticmethod
    def _leave(key: str, reason: str, done: Swept) -> None:
        done.left.append({"key": key, "reason": reason})
        _log.warning("object is left as it is: %s", reason, extra={"action": key})
