"""One pack on its way: send it, believe nothing but receipts, and leave files that tell what happened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from services.common.clock import Clock
from services.edge.errors import PackRefused, ReceiptRejected
from services.edge.forwarder.outbox import Outbox
from services.edge.metrics import EdgeMetrics
from services.edge.ports import Centre, Commitment, ReceiptJudge
from services.edge.receipt_store import ReceiptStore
from services.packs.pack import Footer, PackError, footer_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """Takes a pack from the outbox to the state `committed`; safe to repeat from any point after a crash.

    The order is the promise: receipts verified, receipts durable, only then the link removed.
    """

    outbox: Outbox
    receipts: ReceiptStore
    centre: Centre
    judge: ReceiptJudge
    metrics: EdgeMetrics
    clock: Clock

    def deliver(self, pack_id: str, path: Path, *, may_have_gone: bool) -> Commitment | None:
        """Bring one pack to the centre; None when its link was gone already.

        `may_have_gone`: an earlier process may have sent it, so ask before sending. A pack that is refused is
        set aside and None returned. Raises LineDown or ReceiptRejected when it has to be tried again.
        """
        try:
            footer = self._read(pack_id, path)
            commitment = self._stored(footer) or self._fetch(footer, path, may_have_gone=may_have_gone)
        except FileNotFoundError:
            return None
        except PackRefused as refusal:
            self.outbox.set_aside(pack_id, refusal)
            self.metrics.refused_packs.labels(refusal.reason).inc()
            _log.error("pack set aside", extra={"pack_id": pack_id, "reason": refusal.reason})
            return None
        self.outbox.done(pack_id)
        return commitment

    def _read(self, pack_id: str, path: Path) -> Footer:
        try:
            footer = footer_of(path)
        except PackError as error:
            raise PackRefused(f"the pack cannot be read here: {error}", reason="unreadable") from error
        if footer.pack_id != pack_id:
            raise PackRefused("the file's name is not its pack id", reason="unreadable")
        return footer

    def _stored(self, footer: Footer) -> Commitment | None:
        """The commitment by receipts that lie here already: a crash came between them and the link."""
        if not self.receipts.has(footer.pack_id):
            return None
        try:
            return self.judge.verify(footer, self.receipts.load(footer.pack_id))
        except ReceiptRejected:
            return None  # of an older epoch: the centre has to prove it again

    def _fetch(self, footer: Footer, path: Path, *, may_have_gone: bool) -> Commitment:
        receipts = self.centre.receipts(footer.pack_id) if may_have_gone else None
        if receipts is None:
            size, started = path.stat().st_size, self.clock.monotonic()
            receipts = self.centre.put(footer.pack_id, path)
            self.metrics.put_seconds.observe(self.clock.monotonic() - started)
        else:
            size = path.stat().st_size
        try:
            commitment = self.judge.verify(footer, receipts)
        except ReceiptRejected as error:
            self.metrics.receipts_rejected.labels(error.reason).inc()
            raise
        self.receipts.raise_epoch(commitment.epoch)
        self.receipts.save(footer.pack_id, receipts)
        self.metrics.receipts_verified.inc(len(receipts))
        self.metrics.last_receipt.set(self.clock.now().timestamp())
        self.metrics.forwarded_packs.inc()
        self.metrics.forwarded_bytes.inc(size)
        return commitment
