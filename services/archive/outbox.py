"""The branch's outbox: a hard link to each pack that has no receipts yet (contracts, section 12).

The archive makes links, the edge removes them; either may die at any moment, so `rebuild` compares
the packs with the receipts at start.
"""

import logging
import os
from pathlib import Path

from services.common.durable import sync_directory

_log = logging.getLogger(__name__)


class Outbox:
    """`directory` and the packs of `store` lie on one file system; `receipts` and `quarantine` are the edge's."""

    def __init__(self, directory: Path, store: Path, receipts: Path, quarantine: Path) -> None:
        self._directory, self._store, self._receipts, self._quarantine = (
            directory,
            store,
            receipts,
            quarantine,
        )
        directory.mkdir(parents=True, exist_ok=True)

    def link(self, pack_id: str, key: str) -> None:
        """Offer a stored pack to the edge; durable on return. Doing it again is no harm."""
        if not self._waits(pack_id):
            return
        try:
            os.link(self._store / key, self._directory / f"{pack_id}.pack")
        except FileExistsError:
            return
        sync_directory(self._directory)

    def rebuild(self) -> int:
        """Link every stored pack that should wait and does not; how many were missing."""
        missing = 0
        for path in (self._store / "packs").glob("*/*/*.pack"):
            if not (self._directory / path.name).exists() and self._waits(path.stem):
                self.link(path.stem, str(path.relative_to(self._store)))
                missing += 1
        if missing:
            _log.warning("outbox lacked links to packs without receipts", extra={"count": missing})
        return missing

    def _waits(self, pack_id: str) -> bool:
        has_receipts = (self._receipts / pack_id[:2] / f"{pack_id}.jws").exists()
        return not has_receipts and not (self._quarantine / f"{pack_id}.pack").exists()
