"""The loop that keeps the line busy: looks at the outbox, starts deliveries, and acts on how they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from services.common.clock import Clock
from services.edge.errors import ForwardingError, LineDown
from services.edge.forwarder.delivery import Delivery
from services.edge.forwarder.line import Line
from services.edge.forwarder.outbox import Outbox, Waiting
from services.edge.forwarder.patience import Patience
from services.edge.forwarder.queue import Depth, Queue
from services.edge.forwarder.watch import DirectoryWatch
from services.edge.metrics import EdgeMetrics

RESCAN_SECONDS = 60.0  # should an inotify event ever be lost
LEAST_SECONDS = 0.05  # a loop that has nothing to start never spins
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """How one attempt ended; `waiting` is None for a probe of the line, `error` None for success."""

    waiting: Waiting | None
    error: Exception | None


class Forwarder:
    """Owns the queue; deliveries run in up to `connections` threads and report back to the one loop."""

    def __init__(
        self,
        outbox: Outbox,
        delivery: Delivery,
        line: Line,
        *,
        clock: Clock,
        metrics: EdgeMetrics,
        patience: Patience,
        random: Callable[[], float],
        probe_seconds: float,
        on_change: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._delivery = delivery
        self._line = line
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._random = random
        self._probe_seconds = probe_seconds
        self._on_change = on_change
        self._queue = Queue()
        self._ends: SimpleQueue[_End] = SimpleQueue()
        self._failures: dict[str, int] = {}
        self._seen: set[str] = set()
        # Sent, perhaps, by an attempt or a process that did not live to hear the answer.
        self._may_have_gone: set[str] = set()
        self._probing = False
        self.depth = Depth(0, 0, None)

    def recover(self) -> int:
        """Before the first `step`: mend the outbox, doubt all in it; returns how many links it lacked."""
        mended = self._outbox.rebuild(self._delivery.receipts.has)
        self._may_have_gone = {entry.pack_id for entry in self._outbox.waiting()}
        return mended

    def run(self, stop: threading.Event, connections: int) -> None:
        """Forward until `stop` is set; a delivery under way is then left to the next start."""
        self.recover()
        pool = ThreadPoolExecutor(connections, thread_name_prefix="forward")
        try:
            with DirectoryWatch(self._outbox.directory) as watch:
                while not stop.is_set():
                    watch.wait(self.step(pool, watch.wake))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def step(self, pool: Executor, wake: Callable[[], None]) -> float:
        """Act on what ended, start what may start; returns for how many seconds nothing will be due."""
        self._act_on_ends()
        self._look()
        while self._queue.under_way() + self._probing < self._line.allowance():
            waiting = self._queue.take(self._clock.monotonic())
            if waiting is None:
                break
            pool.submit(self._carry, waiting, wake)
        if self._probe_is_due():
            self._probing = True
            pool.submit(self._probe, wake)
        return self._idle_seconds()

    def _look(self) -> None:
        self._queue.refresh(self._outbox.waiting())
        now_waiting = self._queue.pack_ids()
        for pack_id in now_waiting - self._seen:
            self._on_change(pack_id)
        self._seen = now_waiting
        self._failures = {key: count for key, count in self._failures.items() if key in now_waiting}
        self._may_have_gone &= now_waiting
        depth = self.depth = self._queue.depth()
        self._metrics.queue_packs.set(depth.packs)
        self._metrics.queue_bytes.set(depth.size)
        self._metrics.centre_reachable.set(self._line.reachable)

    def _act_on_ends(self) -> None:
        while True:
            try:
                end = self._ends.get_nowait()
            except Empty:
                return
            if end.waiting is None:
                self._probing = False
                continue
            pack_id = end.waiting.pack_id
            if end.error is None:
                self._queue.remove(pack_id)
                self._on_change(pack_id)
                continue
            self._may_have_gone.add(pack_id)
            self._failures[pack_id] = self._failures.get(pack_id, 0) + 1
            delay = self._patience.wait(self._failures[pack_id], self._random)
            self._queue.put_back(pack_id, self._clock.monotonic() + delay)

    def _carry(self, waiting: Waiting, wake: Callable[[], None]) -> None:
        error: Exception | None = None
        try:
            doubt = waiting.pack_id in self._may_have_gone
            self._delivery.deliver(waiting.pack_id, waiting.path, may_have_gone=doubt)
            self._line.succeeded()
        except Exception as caught:  # whatever it was, the pack stays and is tried again
            error = caught
            self._note(waiting.pack_id, caught)
        self._ends.put(_End(waiting, error))
        wake()

    def _probe(self, wake: Callable[[], None]) -> None:
        """Ask for a pack that cannot exist: a real exchange, through certificates to the centre's index."""
        error: Exception | None = None
        try:
            self._delivery.centre.receipts("0" * 64)
            self._line.succeeded()
        except Exception as caught:
            error = caught
            self._note("probe", caught)
        self._ends.put(_End(None, error))
        wake()

    def _note(self, pack_id: str, error: Exception) -> None:
        if isinstance(error, LineDown):
            self._line.failed(error)
        reason = error.reason if isinstance(error, ForwardingError) else type(error).__name__
        self._metrics.attempts_failed.labels(reason).inc()
        _log.warning("attempt failed", extra={"pack_id": pack_id, "reason": reason}, exc_info=error)

    def _probe_is_due(self) -> bool:
        idle = not self._queue.under_way() and not self._probing
        return idle and self._line.allowance() > 0 and self._line.silent_seconds() >= self._probe_seconds

    def _idle_seconds(self) -> float:
        """Until when only an event (a new pack, an attempt that ends) can give something to do."""
        now, blocked = self._clock.monotonic(), self._line.blocked_seconds()
        busy = self._queue.under_way() + self._probing
        moments = [RESCAN_SECONDS]
        if not busy:
            moments.append(max(self._probe_seconds - self._line.silent_seconds(), blocked))
            if self._queue.has_ready(now):  # held back by the line alone
                moments.append(blocked)
        if busy < max(self._line.allowance(), 1) and (due := self._queue.next_due()) is not None:
            moments.append(max(due - now, blocked))
        return max(LEAST_SECONDS, min(moments))
