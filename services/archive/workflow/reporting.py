"""The thread that judges storage commitment requests and reports to those who asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from services.archive.errors import translate_store
from services.archive.ports import Index, ObjectMissing, ObjectStore
from services.archive.workflow.commitment import (
    LONGEST,
    CommitmentRequest,
    CommitmentState,
    Holding,
    Outcome,
    Waiting,
    is_final,
    judged,
    pause_after,
)
from services.archive.workflow.ports import Commitments
from services.common.clock import Clock
from services.common.errors import PacsError

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
"""How long another replica leaves a request alone; no single report takes longer."""
_RECHECK = timedelta(seconds=1)


class Requester(Protocol):
    """How the one who asked is told."""

    def report(self, request: CommitmentRequest, outcome: Outcome) -> bool:
        """Whether it has taken the report."""


class CommitmentReporter:
    """Judges and reports each request that is due, until it is told or `LONGEST` has passed.

    `holder` names this archive also after a restart: its own requests it takes up at once, those of another
    replica when their lease is over. `arriving` says whether acknowledged instances are not in the index yet.
    """

    def __init__(
        self,
        commitments: Commitments,
        index: Index,
        store: ObjectStore,
        requester: Requester,
        *,
        institution: str,
        holder: str,
        arriving: Callable[[], bool],
        clock: Clock,
        counted: Callable[[str], None],
        every: float = 0.5,
    ) -> None:
        self._commitments, self._index, self._store, self._requester = commitments, index, store, requester
        self._institution, self._holder, self._arriving = institution, holder, arriving
        self._clock, self._counted, self._every = clock, counted, every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def threads(self) -> list[threading.Thread]:
        """The thread that reports; none before `start`."""
        return [self._thread] if self._thread is not None else []

    def start(self) -> None:
        """Report on a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="commitment-reports", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What is not reported is taken up by the next start."""
        self._stop.set()
        if self._thread is not None:
            # A peer that is being told has its own deadlines; the process does not wait for them.
            self._thread.join(timeout=5)

    def report_next(self) -> bool:
        """Take one request that is due, if there is one. Raises `PacsError` while its stores are away."""
        waiting = self._commitments.claim(self._institution, self._holder, self._clock.now(), LEASE)
        if waiting is None:
            return False
        try:
            self._handle(waiting)
        except PacsError:
            self._commitments.postpone(waiting, self._clock.now() + pause_after(waiting.attempts))
            raise
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                worked = self.report_next()
            except PacsError:
                logger.warning("storage commitment waits", exc_info=True)
                worked = False
            except Exception:
                logger.exception("a storage commitment request failed unexpectedly and is tried again")
                worked = False
            if not worked:
                self._stop.wait(self._every)

    def _handle(self, waiting: Waiting) -> None:
        request = waiting.request
        # Before the index is asked: what arrives in between is then seen as arriving, not as missing.
        arriving = self._arriving()
        outcome = self._judge(request)
        now = self._clock.now()
        if not is_final(outcome, request.received_at, now, arriving=arriving):
            self._commitments.postpone(waiting, now + _RECHECK)
            return
        fields = {"calling_ae": request.calling_ae, "instances": len(request.references),
                  "count": len(outcome.failed)}  # fmt: skip
        if self._requester.report(request, outcome):
            self._commitments.close(request, CommitmentState.REPORTED, outcome, self._clock.now())
            self._counted("reported")
            logger.info("storage commitment reported", extra=fields)
        elif now - request.received_at >= LONGEST:
            self._commitments.close(request, CommitmentState.ABANDONED, outcome, self._clock.now())
            self._counted("abandoned")
            logger.error("storage commitment given up: its requester is not to be reached", extra=fields)
        else:
            self._commitments.postpone(
                Waiting(request, waiting.attempts + 1), self._clock.now() + pause_after(waiting.attempts)
            )
            self._counted("failed")

    def _judge(self, request: CommitmentRequest) -> Outcome:
        uids = [reference.sop_instance_uid for reference in request.references]
        held = {
            one.sop_instance_uid: Holding(
                one.sop_instance_uid, one.sop_class_uid, one.object_key, one.offset + one.length
            )
            for one in self._index.holdings(request.institution, uids)
        }
        return judged(request.references, held, self._size)

    def _size(self, key: str) -> int | None:
        with translate_store():
            try:
                return self._store.size(key)
            except ObjectMissing:
                logger.error("an object that the index promises is not there")  # noqa: TRY400 - the place is known
                return None
