"""How old the oldest instance is that lies in the segment log only: the gauge that warns of stuck sealing."""

import threading
from collections.abc import Callable

from services.common.clock import Clock
from services.packs.pack import Footer
from services.packs.record import Record

_Name = tuple[str, str, str]


class Unsealed:
    """Notes durable records until a sealed pack holds them. `waiting` is how many the log still keeps."""

    def __init__(self, clock: Clock, waiting: Callable[[], int]) -> None:
        self._clock, self._waiting = clock, waiting
        self._lock = threading.Lock()
        self._records: dict[_Name, float] = {}

    def received(self, record: Record) -> None:
        """A record is durable; a listener of the segment log."""
        header = record.header
        name = (header.institution, header.sop_instance_uid, header.digest)
        with self._lock:
            self._records.setdefault(name, self._clock.monotonic())

    def sealed(self, footer: Footer) -> None:
        """A pack lies in place."""
        with self._lock:
            for identity, digest in footer.identities():
                self._records.pop((identity.institution, identity.sop_instance_uid, digest), None)

    def oldest_seconds(self) -> float:
        """Age of the oldest, 0 when nothing waits."""
        with self._lock:
            # What was set aside for support never comes in a pack; an empty log says that nothing waits for it.
            if self._records and self._waiting() == 0:
                self._records.clear()
            oldest = min(self._records.values(), default=None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest
