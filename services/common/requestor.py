"""Associations that we ask for: pynetdicom's, with the race in its reactor closed."""

from __future__ import annotations

from threading import Condition, Event
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

_REACTOR_SECONDS = 1.0


def associate(ae: AE, *address: Any, **options: Any) -> Association:
    """`AE.associate`, with a reactor that does not take the answers to what is asked."""
    association = ae.associate(*address, **options)
    association._reactor_checkpoint = _Checkpoint()
    return association


class _Checkpoint(Event):
    """Where pynetdicom's reactor waits while a request is under way; put in place of the library's event.

    The library clears its event and believes the reactor paused while that one may be just past it: the
    reactor then takes the response for a request that nobody expects and aborts, the quicker the peer the
    more often. Here `clear` returns once the reactor does wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changed = Condition()
        self._open, self._waiting = True, False

    def is_set(self) -> bool:
        return self._open

    def set(self) -> None:
        with self._changed:
            self._open, self._waiting = True, False
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._open = False
            # The reactor comes by every millisecond; one that has ended never does.
            self._changed.wait_for(lambda: self._waiting, _REACTOR_SECONDS)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set: the reactor gives no `timeout`."""
        with self._changed:
            while not self._open:
                self._waiting = True
                self._changed.notify_all()
                self._changed.wait()
        return True
