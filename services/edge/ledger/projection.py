"""Keeps the ledger equal to the files: each change at once, everything again after the database was away."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

from services.edge.forwarder.outbox import Outbox
from services.edge.metrics import EdgeMetrics
from services.edge.ports import Commitment, Ledger, LedgerDown, LedgerEntry
from services.edge.receipt_store import ReceiptStore
from services.packs.pack import PackError, footer_of

BATCH = 50
RETRY_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Projection:
    """Reads packs and receipts, writes rows. `changed` may be called from any thread and never waits."""

    def __init__(self, ledger: Ledger, outbox: Outbox, receipts: ReceiptStore, metrics: EdgeMetrics) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._receipts = receipts
        self._metrics = metrics
        self._changes: SimpleQueue[str] = SimpleQueue()
        self._complete = False

    def changed(self, pack_id: str) -> None:
        """This pack appeared, or its receipts did."""
        self._changes.put(pack_id)

    def run(self, stop: threading.Event) -> None:
        """Project until `stop` is set. Begun again after a failure, it compares everything again."""
        self._complete = False
        while not stop.is_set():
            try:
                self.step(wait_seconds=1.0)
            except LedgerDown as error:
                self._complete = False
                _log.warning("ledger not written; forwarding goes on", extra={"reason": str(error)})
                stop.wait(RETRY_SECONDS)

    def step(self, wait_seconds: float = 0.0) -> None:
        """Write what changed; the first time and after LedgerDown, whatever rows and files differ in."""
        if not self._complete:
            self.rebuild()
            self._complete = True
        changed = self._drain(wait_seconds)
        self._record(changed)

    def rebuild(self) -> int:
        """Compare all files with all rows and write the differences; returns how many packs differed."""
        known = self._ledger.known()
        behind = [
            path.stem
            for path in self._outbox.packs()
            if path.stem not in known or (not known[path.stem] and self._receipts.has(path.stem))
        ]
        self._metrics.ledger_behind.set(len(behind))
        self._record(behind)
        return len(behind)

    def _record(self, pack_ids: Iterable[str]) -> None:
        pending = list(pack_ids)
        for start in range(0, len(pending), BATCH):
            batch = pending[start : start + BATCH]
            self._ledger.record([entry for pack_id in batch if (entry := self._entry(pack_id)) is not None])
        self._metrics.ledger_behind.set(0)

    def _entry(self, pack_id: str) -> LedgerEntry | None:
        path = self._outbox.find(pack_id)
        if path is None:
            return None
        try:
            footer = footer_of(path)
        except (
            PackError,
            FileNotFoundError,
        ):  # the forwarder sets it aside; a ledger has nothing to say of it
            return None
        if not self._receipts.has(pack_id):
            return LedgerEntry(footer, None, None)
        receipts = self._receipts.path(pack_id)
        forwarded = datetime.fromtimestamp(receipts.stat().st_mtime, UTC)
        return LedgerEntry(footer, forwarded, _commitment(pack_id, receipts))

    def _drain(self, wait_seconds: float) -> list[str]:
        changed: dict[str, None] = {}
        try:
            changed[
                self._changes.get(timeout=wait_seconds) if wait_seconds else self._changes.get_nowait()
            ] = None
            while len(changed) < BATCH:
                changed[self._changes.get_nowait()] = None
        except Empty:
            pass
        return list(changed)


def _commitment(pack_id: str, receipts: Path) -> Commitment | None:
    """What a stored receipt says; it was verified before it was stored, so it is only read here.

    None where the file was damaged since: one bad file must not keep all other rows from being written.
    """
    try:
        payload = receipts.read_text(encoding="ascii").split("\n", 1)[0].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return Commitment(pack_id, int(claims["epoch"]), datetime.fromisoformat(claims["committed_at"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        _log.error("stored receipts cannot be read", extra={"pack_id": pack_id}, exc_info=error)
        return None
