"""Index against bucket: does every row have its bytes, every object its row, and are the bytes what they were?

Nothing is changed. What is written meanwhile is no difference: a row or object that looks alone is looked at
again before it is told, and objects younger than `grace` may still be waiting for their rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from services.archive.errors import translate_store
from services.archive.index.rebuild import PREFIX, stored_footer
from services.archive.ports import ObjectDamaged, ObjectMissing, ObjectStore
from services.archive.tombstones.burial import stored_tombstone
from services.archive.tombstones.document import PREFIX as TOMBSTONES
from services.archive.tombstones.document import TombstoneError
from services.archive.upkeep.differences import Difference, Kind
from services.archive.upkeep.ledger import Ledger, PackRow
from services.archive.upkeep.merge import side_by_side
from services.common.clock import Clock
from services.packs.pack import MAGIC, Footer, PackError

GRACE = timedelta(hours=1)
BATCH = 200


@dataclass(slots=True)
class Progress:
    """How far a check is; `after` is the last key that is done with."""

    after: str = ""
    packs: int = 0
    objects: int = 0
    digested: int = 0
    read_bytes: int = 0
    differences: list[Difference] = field(default_factory=list)


class Check:
    """One check. `share` of the packs (0 to 1) have all their bytes read and digested, chosen by `seed`."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: Ledger,
        clock: Clock,
        *,
        share: float,
        seed: str,
        grace: timedelta = GRACE,
        step: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._share, self._seed, self._grace, self._step = share, seed, grace, step

    def run(self, progress: Progress) -> Progress:
        """Go on from `progress` to the end; `step` is told after each key, and may keep it.

        Raises `IndexUnavailable` or `StoreAway`; running it again with what was kept goes on.
        """
        with translate_store():
            if not progress.after.startswith(TOMBSTONES):
                self._packs(progress)
            self._tombstones(progress)
        return progress

    def _packs(self, progress: Progress) -> None:
        keys = (key for key in self._store.list(PREFIX) if key > progress.after)
        rows = self._rows(progress.after)
        for key, row, stored in side_by_side(rows, lambda one: one.object_key, keys):
            progress.objects += stored
            progress.packs += row is not None
            progress.differences += self._lone_object(key) if row is None else self._pack(row, progress)
            progress.after = key
            self._step(progress)

    def _rows(self, after: str) -> Iterator[PackRow]:
        while batch := self._ledger.packs(after, BATCH):
            yield from batch
            after = batch[-1].object_key

    def _pack(self, row: PackRow, progress: Progress) -> list[Difference]:
        try:
            return list(self._differences(row, progress))
        except ObjectMissing:
            now = self._ledger.pack(row.object_key)
            if now is None or now.retired:
                return []  # compaction replaced it, a sweep took it away
            return [Difference(Kind.MISSING_OBJECT, row.object_key, f"{row.length} bytes are lost")]

    def _differences(self, row: PackRow, progress: Progress) -> Iterator[Difference]:
        size = self._store.size(row.object_key)
        if size != row.length:
            yield Difference(Kind.WRONG_SIZE, row.object_key, f"{size} bytes, the index says {row.length}")
        try:
            footer, _ = stored_footer(self._store, row.object_key)
        except (PackError, ObjectDamaged) as error:
            yield Difference(Kind.UNREADABLE_FOOTER, row.object_key, str(error))
            return
        said = {(one.sop_instance_uid, one.digest, one.offset, one.length) for one in footer.instances}
        for place in self._ledger.places([row.pack_id])[row.pack_id]:
            if (place.sop_instance_uid, place.digest, place.offset, place.length) not in said:
                detail = f"{place.sop_instance_uid} at {place.offset}, {place.length} bytes"
                yield Difference(Kind.MISPLACED_INSTANCE, row.object_key, detail)
        if self._is_chosen(row.pack_id):
            yield from self._digested(row.object_key, footer, progress)

    def _is_chosen(self, pack_id: str) -> bool:
        """Whether this pack is in the sample: the same for one seed, others with the next."""
        drawn = hashlib.sha256(f"{self._seed} {pack_id}".encode()).digest()
        return int.from_bytes(drawn[:8]) < self._share * 2**64

    def _digested(self, key: str, footer: Footer, progress: Progress) -> Iterator[Difference]:
        last = footer.instances[-1]
        length = last.offset + last.length - len(MAGIC)
        digest = hashlib.sha256()
        try:
            if self._store.read(key, 0, len(MAGIC)) != MAGIC:
                yield Difference(Kind.ALTERED_BYTES, key, "it does not begin as a pack")
            for piece in self._store.stream(key, len(MAGIC), length):
                digest.update(piece)
                progress.read_bytes += len(piece)
        except ObjectDamaged as error:
            yield Difference(Kind.ALTERED_BYTES, key, str(error))
            return
        progress.digested += 1
        if digest.hexdigest() != footer.content_digest:
            detail = f"SHA-256 {digest.hexdigest()[:16]}..., the footer says {footer.content_digest[:16]}..."
            yield Difference(Kind.ALTERED_BYTES, key, detail)

    def _lone_object(self, key: str) -> list[Difference]:
        if not self._is_settled(key) or self._ledger.pack(key) is not None:
            return []
        try:
            footer, size = stored_footer(self._store, key)
        except (PackError, ObjectDamaged) as error:
            return [Difference(Kind.UNREADABLE_OBJECT, key, str(error))]
        except ObjectMissing:
            return []
        return [Difference(Kind.MISSING_ROW, key, f"{len(footer.instances)} instances, {size} bytes")]

    def _is_settled(self, key: str) -> bool:
        try:
            return self._clock.now() - self._store.modified(key) >= self._grace
        except ObjectMissing:
            return False

    def _tombstones(self, progress: Progress) -> None:
        after = progress.after if progress.after.startswith(TOMBSTONES) else ""
        keys = (key for key in self._store.list(TOMBSTONES) if key > after)
        for key, row, stored in side_by_side(self._documents(after), lambda one: one, keys):
            progress.objects += stored
            progress.differences += self._tombstone(key, row is not None, stored)
            progress.after = key
            self._step(progress)

    def _documents(self, after: str) -> Iterator[str]:
        while batch := self._ledger.documents(after, BATCH):
            yield from batch
            after = batch[-1]

    def _tombstone(self, key: str, has_row: bool, stored: bool) -> list[Difference]:
        if not stored:
            return [Difference(Kind.MISSING_TOMBSTONE, key, "an index made anew would show what it hides")]
        try:
            found = stored_tombstone(self._store, key)
        except (TombstoneError, ObjectDamaged) as error:
            return [Difference(Kind.UNREADABLE_TOMBSTONE, key, str(error))]
        if has_row or not self._is_settled(key):
            return []
        return [Difference(Kind.TOMBSTONE_WITHOUT_ROW, key, f"deleted at {found.deleted_at}")]
