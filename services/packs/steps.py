"""Work that is done piece by piece on a thread, and tried again with growing pauses when it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from services.common.clock import Clock
from services.packs.gathering import SealingRules

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Pause:
    """How long one kind of work is left alone after it failed. Times are monotonic seconds."""

    rules: SealingRules
    clock: Clock
    failures: int = 0
    until: float = 0.0

    @property
    def over(self) -> bool:
        """Whether the work may be tried now."""
        return self.clock.monotonic() >= self.until

    def failed(self) -> float:
        """Note a failure; when to try again."""
        self.failures += 1
        longest, first = self.rules.max_retry_seconds, self.rules.retry_seconds
        self.until = self.clock.monotonic() + min(longest, first * 2 ** min(self.failures - 1, 20))
        return self.until

    def succeeded(self) -> None:
        """The next failure starts with the shortest pause again."""
        self.failures = 0


class Worker:
    """Threads that share a condition; each repeats its step until `stop`, whatever the step raises.

    A step returns the monotonic time at which it wants to be called again, None when it has nothing to do;
    `has_work` tells, under the condition, whether that is still so.
    """

    def __init__(self, wake: threading.Condition, rules: SealingRules, clock: Clock) -> None:
        self._wake, self._rules, self._clock = wake, rules, clock
        self._stopping = False
        self.threads: list[threading.Thread] = []

    def start(self, name: str, step: Callable[[], float | None], has_work: Callable[[], bool]) -> None:
        """Repeat `step` on a thread called `name`."""
        thread = threading.Thread(target=self._run, args=(step, has_work), name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the threads after the step that each is in."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self.threads:
            thread.join()

    def _run(self, step: Callable[[], float | None], has_work: Callable[[], bool]) -> None:
        pause = Pause(self._rules, self._clock)
        while True:
            try:
                again = step()
            except Exception:  # a thread that ended would leave its work undone until the next start
                logger.exception("%s failed and is tried again", threading.current_thread().name)
                again = pause.failed()
            else:
                pause.succeeded()
            with self._wake:
                if self._stopping:
                    return
                delay = None if again is None else again - self._clock.monotonic()
                # What came between the step and this wait must not be slept over.
                if delay is None and has_work():
                    continue
                if delay is None or delay > 0:
                    self._wake.wait(delay)
