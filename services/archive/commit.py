"""How a pack becomes part of the archive: object, then (branch) the outbox link, then rows and receipts.

Every step is idempotent and in this order, so that a crash leaves an object without rows (which
`index.rebuild` finds) or without a link (which `Outbox.rebuild` finds), never a row or link without its
object. A branch forwards what is stored whether or not its index is there: that is a projection.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.archive.errors import translate_store
from services.archive.index.content import ReadRange, content_of
from services.archive.index.records import Outcome, PackContent, ReceiptRecord
from services.archive.metrics import ArchiveMetrics
from services.archive.outbox import Outbox
from services.archive.ports import Index, ObjectStore
from services.archive.tombstones.burial import Burial
from services.archive.tombstones.rejection import rejections_in
from services.common.clock import Clock, rfc3339
from services.packs.pack import Footer
from services.packs.receipts import Receipt, ReceiptSigner

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReceiptIssuer:
    """Makes the receipts of a pack; only the centre holds the key."""

    signer: ReceiptSigner
    epoch: int
    clock: Clock

    def issue(self, content: PackContent) -> list[ReceiptRecord]:
        """One signed receipt for each instance, in pack order; they count once their rows are committed."""
        now, pack = self.clock.now(), content.pack
        return [
            ReceiptRecord(
                one.sop_instance_uid, one.digest, self.epoch, self.signer.key_id, now,
                self.signer.sign(Receipt(
                    region=pack.region, institution=pack.institution, site=pack.site,
                    sop_instance_uid=one.sop_instance_uid, digest=one.digest, epoch=self.epoch,
                    pack_id=pack.pack_id, committed_at=rfc3339(now), key_id=self.signer.key_id,
                )),
            )
            for one in content.instances
        ]  # fmt: skip


class ArchiveSink:
    """`PackSink` of the archive: for the sealer's packs and, with `store_pack`, for those from the internet."""

    def __init__(
        self,
        store: ObjectStore,
        index: Index,
        metrics: ArchiveMetrics,
        *,
        issuer: ReceiptIssuer | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self._store, self._index, self._metrics = store, index, metrics
        self._issuer, self._outbox = issuer, outbox
        self._burial = Burial(store, index, metrics)

    def store(self, path: Path, footer: Footer) -> None:
        """See `PackSink`. Raises one of `services.archive.errors`."""
        self._put(path, footer, None)

    def commit(self, path: Path, footer: Footer) -> None:
        """See `PackSink`. Raises `PackError`, or one of `services.archive.errors`."""
        with self._timed():
            self._enter_file(path, footer)

    def store_pack(self, path: Path, footer: Footer, sha256: str) -> list[str]:
        """Store and commit a pack whose SHA-256 is known; its receipts, none where this process signs none.

        Raises `PackError`, or one of `services.archive.errors`; then the pack is to be sent again.
        """
        with self._timed():
            self._put(path, footer, sha256)
            self._enter_file(path, footer)
            if self._issuer is None:
                return []
            # The rows may be older than this call; what was committed first is what was promised.
            return self._index.receipts(footer.institution, footer.pack_id, self._issuer.epoch)

    def enter_stored(self, footer: Footer, length: int) -> None:
        """Enter a pack that lies in the store already: the way back to an index from packs alone."""

        def read(offset: int, size: int) -> bytes:
            return self._store.read(footer.key, offset, size)

        with translate_store():
            self._enter(footer, read, length)

    def _put(self, path: Path, footer: Footer, sha256: str | None) -> None:
        with translate_store():
            self._store.put(footer.key, path, path.stat().st_size, sha256)
        if self._outbox is not None:
            self._outbox.link(footer.pack_id, footer.key)

    def _enter_file(self, path: Path, footer: Footer) -> None:
        length = path.stat().st_size
        with path.open("rb") as file:
            descriptor = file.fileno()
            self._enter(footer, lambda offset, size: os.pread(descriptor, size, offset), length)
        self._metrics.pack_bytes.observe(length)

    def _enter(self, footer: Footer, read: ReadRange, length: int) -> None:
        with translate_store():
            key_id = self._store.key_id(footer.key)
        content, unreadable = content_of(footer, read, length, key_id)
        # Before the rows: a rejection note that is found has taken effect.
        for tombstone in rejections_in(content):
            self._burial.bury(tombstone)
        receipts = self._issuer.issue(content) if self._issuer is not None else []
        self._report(content, self._index.commit(content, receipts), unreadable)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started, result = time.perf_counter(), "failed"
        try:
            yield
            result = "committed"
        finally:
            self._metrics.commit_seconds.labels(result).observe(time.perf_counter() - started)

    def _report(self, content: PackContent, outcome: Outcome, unreadable: int) -> None:
        self._metrics.instances_committed(outcome)
        self._metrics.unreadable_headers.inc(unreadable)
        fields = {
            "pack_id": content.pack.pack_id, "study_uid": content.pack.study_uid,
            "institution": content.pack.institution, "site": content.pack.site, "instances": outcome.added,
            "duplicates": outcome.duplicates, "conflicts": outcome.conflicts,
        }  # fmt: skip
        if outcome.conflicts:
            _log.warning(
                "pack committed; another version of an instance was kept beside the first", extra=fields
            )
        else:
            _log.info("pack committed", extra=fields)
