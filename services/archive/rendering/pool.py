"""The workers: processes that decode, each with bounded memory and time, replaced when they end.

A worker is a fresh interpreter (`python -m services.archive.rendering.worker`) on one end of a socket pair. It is
started with the first job that needs it and kept. Whatever a codec does there, a job ends in one of three ways here:
its blobs, `CannotRender`, or `RenderingBusy`.
"""

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from services.archive.rendering.errors import CannotRender, RenderingBusy
from services.archive.rendering.wire import WireError, receive, send

ANSWER_BYTES = 512 << 20
WORKER = (sys.executable, "-m", "services.archive.rendering.worker")
_SECONDS_TO_START = 30.0
_log = logging.getLogger(__name__)


class RenderingObserver(Protocol):
    """What is counted of rendering."""

    def job_ended(self, operation: str, outcome: str, seconds: float) -> None:
        """A job ended: `done`, `refused`, `crashed`, `timeout` or `busy`."""


class _Worker:
    """One process and our end of its socket."""

    def __init__(self, command: Sequence[str], memory_bytes: int, seconds: float) -> None:
        self.connection, theirs = socket.socketpair()
        with theirs:
            # The environment holds settings and secrets' places: nothing a codec should find.
            environment = {
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            }
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(memory_bytes), str(seconds)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


class RenderingPool:
    """At most `workers` jobs at a time; safe to use from every thread."""

    def __init__(
        self,
        observer: RenderingObserver,
        *,
        workers: int = 2,
        memory_bytes: int = 512 << 20,
        seconds: float = 30.0,
        patience: float = 10.0,
        command: Sequence[str] = WORKER,
    ) -> None:
        """`seconds` is what one job may take; `patience` how long a request waits for a free worker."""
        self._observer, self._command = observer, command
        self._memory, self._seconds, self._patience = memory_bytes, seconds, patience
        # A place holds a worker that waits, or None where one is yet to be started. The warmest comes first.
        self._places: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._lock, self._closed = threading.Lock(), False
        for _ in range(workers):
            self._places.put(None)

    def run(self, operation: str, head: dict[str, Any], *blobs: bytes | memoryview) -> list[bytearray]:
        """The blobs that a worker makes of these. Raises `CannotRender`, `RenderingBusy`."""
        started, outcome = time.perf_counter(), "busy"
        try:
            place = self._places.get(timeout=self._patience)
        except queue.Empty:
            self._observer.job_ended(operation, outcome, time.perf_counter() - started)
            raise RenderingBusy(
                "Every rendering worker is at work.", action="Send the same request again."
            ) from None
        worker: _Worker | None = place
        outcome = "crashed"
        try:
            worker = self._ready(place)
            answer, made = self._exchange(worker, {"operation": operation, **head}, blobs)
            outcome = "done" if answer.get("done") is True else "refused"
        except TimeoutError:
            outcome = "timeout"
            raise CannotRender(
                f"Working on this image took longer than {self._seconds:g} s and was ended.",
                action="Fetch the instance as stored instead.",
            ) from None
        except WireError:
            raise CannotRender(
                "The decoder ended while it worked on this image: it is damaged, or larger than a worker's memory.",
                action="Fetch the instance as stored instead.",
            ) from None
        finally:
            if outcome in ("crashed", "timeout") and worker is not None:
                _log.warning("a rendering worker was ended", extra={"action": operation, "outcome": outcome})
                worker.end()
                worker = None
            self._give_back(worker)
            self._observer.job_ended(operation, outcome, time.perf_counter() - started)
        if outcome == "refused":
            why = str(answer.get("why", "The image cannot be decoded."))
            raise CannotRender(why, action="Fetch the instance as stored instead.")
        return made

    def close(self) -> None:
        """End every worker; jobs under way end with theirs."""
        with self._lock:
            self._closed = True
        while True:
            try:
                worker = self._places.get_nowait()
            except queue.Empty:
                return
            if worker is not None:
                worker.end()

    def _ready(self, place: _Worker | None) -> _Worker:
        """The worker of a place; one that died while it waited is replaced."""
        if place is not None and place.process.poll() is None:
            return place
        if place is not None:
            place.end()
        worker = _Worker(self._command, self._memory, self._seconds)
        try:
            # Starting is not the image's fault and does not count for its time.
            ready = receive(worker.connection, 0, _SECONDS_TO_START)
        except (WireError, TimeoutError):
            ready = None
        if ready is None:
            worker.end()
            raise RenderingBusy(
                "A rendering worker could not be started.", action="Send the same request again."
            )
        return worker

    def _exchange(
        self, worker: _Worker, head: dict[str, Any], blobs: Sequence[bytes | memoryview]
    ) -> tuple[dict[str, Any], list[bytearray]]:
        end = time.monotonic() + self._seconds
        send(worker.connection, head, blobs, self._seconds)
        answer = receive(worker.connection, ANSWER_BYTES, max(0.001, end - time.monotonic()))
        if answer is None:
            raise WireError("it ended")
        return answer

    def _give_back(self, worker: _Worker | None) -> None:
        with self._lock:
            if not self._closed:
                self._places.put(worker)
                return
        if worker is not None:
            worker.end()
