"""The state of the line to the centre, as real exchanges show it: who may send now, and when to try again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from services.common.clock import Clock
from services.edge.errors import LineDown
from services.edge.forwarder.patience import Patience


class Line:
    """Shared by all connections. While it fails, one pack at a time tries; a success opens it for all."""

    def __init__(
        self, clock: Clock, patience: Patience, random: Callable[[], float], connections: int
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._random = random
        self._connections = connections
        self._lock = threading.Lock()
        self._failures = 0
        self._blocked_until = 0.0
        self._last_contact: float | None = None
        self.last_success: datetime | None = None
        self.reason = "not tried yet"

    @property
    def reachable(self) -> bool:
        """Whether the last exchange succeeded."""
        return self.last_success is not None and self._failures == 0

    def allowance(self) -> int:
        """How many packs may be under way now: all connections, one while trying again, or none."""
        with self._lock:
            if not self._failures:
                return self._connections
            return 1 if self._clock.monotonic() >= self._blocked_until else 0

    def blocked_seconds(self) -> float:
        """Seconds until something may be tried; 0 when now."""
        with self._lock:
            return max(0.0, self._blocked_until - self._clock.monotonic()) if self._failures else 0.0

    def silent_seconds(self) -> float:
        """Seconds since the last exchange, good or bad; infinite before the first."""
        with self._lock:
            return (
                float("inf") if self._last_contact is None else self._clock.monotonic() - self._last_contact
            )

    def succeeded(self) -> None:
        """An exchange worked: the line is open."""
        with self._lock:
            self._failures = 0
            self._last_contact = self._clock.monotonic()
            self.last_success = self._clock.now()
            self.reason = ""

    def failed(self, error: LineDown) -> None:
        """An exchange failed. Several that were under way together count as one failure."""
        with self._lock:
            now = self._clock.monotonic()
            self._last_contact = now
            self.reason = error.reason
            if self._failures and now < self._blocked_until:
                return
            self._failures += 1
            self._blocked_until = now + self._patience.wait(self._failures, self._random, error.wait_seconds)
