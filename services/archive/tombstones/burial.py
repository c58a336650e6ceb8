"""How a tombstone takes effect: object first, then the rows, then success; and how a rebuild finds it again."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from services.archive.errors import translate_store
from services.archive.metrics import ArchiveMetrics
from services.archive.ports import Index, ObjectDamaged, ObjectMissing, ObjectStore
from services.archive.tombstones.document import MAX_BYTES, PREFIX, Tombstone, TombstoneError

BATCH = 500
_log = logging.getLogger(__name__)


class Burial:
    """Puts tombstones into store and index. Every step is idempotent, so whoever was interrupted does it again."""

    def __init__(self, store: ObjectStore, index: Index, metrics: ArchiveMetrics) -> None:
        self._store, self._index, self._metrics = store, index, metrics

    def bury(self, tombstone: Tombstone) -> int:
        """Make the tombstone durable and hide what it names; how many versions went out of the index.

        Raises `IndexUnavailable`, `StoreAway` or `NoRoom`; doing it again completes it.
        """
        encoded = tombstone.encode()
        with translate_store():
            self._store.put(tombstone.key, io.BytesIO(encoded), len(encoded), tombstone.document_id)
        return self._enter(tombstone)

    def enter_missing(self) -> tuple[int, int]:
        """Enter every stored tombstone that has no row: how many there were to enter, and how many are damaged."""
        entered = damaged = 0
        for tombstone in self._unknown():
            if tombstone is None:
                damaged += 1
            else:
                self._enter(tombstone)
                entered += 1
        return entered, damaged

    def _enter(self, tombstone: Tombstone) -> int:
        removed = self._index.bury(tombstone)
        self._metrics.buried.labels(tombstone.code or "deletion").inc(removed)
        _log.info(
            "tombstone entered",
            extra={"institution": tombstone.institution, "count": removed, "action": tombstone.origin},
        )
        return removed

    def _unknown(self) -> Iterator[Tombstone | None]:
        with translate_store():
            keys = (key for key in self._store.list(PREFIX) if key.endswith(".json"))
            while batch := {PurePosixPath(key).stem: key for key in islice(keys, BATCH)}:
                for document_id in sorted(self._index.unknown_tombstones(batch.keys())):
                    yield self._read(batch[document_id])

    def _read(self, key: str) -> Tombstone | None:
        try:
            return stored_tombstone(self._store, key)
        except (TombstoneError, ObjectMissing, ObjectDamaged):
            # A tombstone that cannot be read hides nothing: its object is reported, and left for support.
            _log.exception("stored object is no sound tombstone", extra={"action": key})
            return None


def stored_tombstone(store: ObjectStore, key: str) -> Tombstone:
    """The tombstone under its own key. Raises `TombstoneError` and the store's errors."""
    size = store.size(key)
    if size > MAX_BYTES:
        raise TombstoneError(f"the object {key} has {size} bytes: no tombstone is that large")
    found = Tombstone.decode(store.read(key, 0, size))
    if found.key != key:
        raise TombstoneError(f"the object {key} holds another tombstone")
    return found
