"""The thread that keeps the second copy up to date: one process of the region copies, the others stand by."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from services.archive.metrics import ArchiveMetrics
from services.archive.ports import ObjectDamaged, ObjectMissing
from services.archive.second_copy.copier import Copier
from services.archive.second_copy.ports import CopyQueue, Due
from services.common.clock import Clock

BATCH = 100
PAUSE = 15.0
_log = logging.getLogger(__name__)


class SecondCopyKeeper:
    """Copies whatever is due, again and again; an object that cannot be copied holds up no other."""

    def __init__(self, copier: Copier, queue: CopyQueue, metrics: ArchiveMetrics, clock: Clock) -> None:
        self._copier, self._queue, self._metrics, self._clock = copier, queue, metrics, clock
        self._oldest: datetime | None = None
        metrics.second_copy_age.set_function(self._oldest_seconds)

    def run(self, stop: threading.Event, pause: float = PAUSE) -> None:
        """Until `stop`; store, second site and database may be away meanwhile."""
        while not stop.is_set():
            try:
                if self._queue.lead():
                    self.copy_due(stop)
                self.measure()
            except Exception:  # whatever it was: it is tried again, and the age tells how far behind we are
                _log.warning("the second copy is not up to date", exc_info=True)
            stop.wait(pause)

    def copy_due(self, stop: threading.Event | None = None) -> int:
        """One pass over everything that is due; how many objects were sent."""
        sent = self._copier.copy_small()
        self._metrics.second_copied.labels("copied").inc(sent)
        after: Due | None = None
        while batch := self._queue.due(BATCH, after):
            for due in batch:
                if stop is not None and stop.is_set():
                    return sent
                sent += self._copy(due)
            after = batch[-1]
        return sent

    def measure(self) -> None:
        """Set the gauges."""
        waiting = self._queue.waiting()
        self._metrics.second_copy_waiting.set(waiting.packs)
        self._oldest = waiting.oldest

    def _oldest_seconds(self) -> float:
        # Counted on while the database is away: being behind does not end because nobody can tell.
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())

    def _copy(self, due: Due) -> bool:
        try:
            sent = self._copier.copy(due.object_key)
        except ObjectMissing:
            return False  # compaction was faster: its row goes too
        except ObjectDamaged:
            self._metrics.second_copied.labels("failed").inc()
            _log.exception("a pack cannot be copied", extra={"pack_id": due.pack_id})
            return False
        self._queue.done([due.pack_id])
        self._metrics.second_copied.labels("copied" if sent else "present").inc()
        return sent
