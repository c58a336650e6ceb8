"""Memory for the messages that are received at the same time, on all connections together; a C-STORE needs none."""

from __future__ import annotations

import threading
import time


class Room:
    """At most `capacity` bytes of messages, but that the largest message under way may always be finished.

    Who finds no room waits, and so does its peer, whose bytes are not read. That the largest goes on keeps
    half messages from waiting for each other; what is held never passes `capacity` and one message.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: dict[object, int] = {}
        self._freed = threading.Condition()

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        with self._freed:
            return sum(self._held.values())

    def take(self, owner: object, count: int, seconds: float) -> None:
        """Hold `count` bytes more for `owner`. Raises `OSError` when there was no room for `seconds`."""
        deadline = time.monotonic() + seconds
        with self._freed:
            while not self._fits(owner, count):
                if not self._freed.wait(max(0.0, deadline - time.monotonic())):
                    raise OSError(f"no memory for {count} bytes more within {seconds:.0f} s")
            self._held[owner] = self._held.get(owner, 0) + count

    def give(self, owner: object, count: int | None = None) -> None:
        """Hold `count` bytes less for `owner`; none at all any more where no count is given."""
        with self._freed:
            left = 0 if count is None else self._held.get(owner, 0) - count
            if left > 0:
                self._held[owner] = left
            else:
                self._held.pop(owner, None)
            self._freed.notify_all()

    def _fits(self, owner: object, count: int) -> bool:
        own = self._held.get(owner, 0)
        return sum(self._held.values()) + count <= self._capacity or own >= max(
            self._held.values(), default=0
        )
