"""What waits in the outbox and which pack goes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.edge.forwarder.outbox import Waiting


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits: packs, bytes, and the Unix time of the oldest (None when empty)."""

    packs: int
    size: int
    oldest: float | None


class Queue:
    """Packs in the outbox, those under way among them. Not thread-safe: one thread owns it.

    Every other pick is the newest pack: after days of outage the emergency of this minute must not wait
    behind the backlog, and the backlog must not starve behind a busy scanner.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._under_way: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._newest_next = False

    def refresh(self, seen: Iterable[Waiting]) -> None:
        """Take over what the outbox holds now."""
        self._waiting = {entry.pack_id: entry for entry in seen}
        self._not_before = {key: due for key, due in self._not_before.items() if key in self._waiting}

    def take(self, now: float) -> Waiting | None:
        """The next pack to send at monotonic time `now`, marked as under way; None when none is due."""
        ready = list(self._ready(now))
        if not ready:
            return None
        pick = (max if self._newest_next else min)(ready, key=lambda entry: (entry.since, entry.pack_id))
        self._newest_next = not self._newest_next
        self._under_way.add(pick.pack_id)
        return pick

    def has_ready(self, now: float) -> bool:
        """Whether a pack could go at monotonic time `now`, if the line let it."""
        return next(self._ready(now), None) is not None

    def put_back(self, pack_id: str, not_before: float = 0.0) -> None:
        """A pack was not delivered: it may go again at monotonic time `not_before`."""
        self._under_way.discard(pack_id)
        self._not_before[pack_id] = not_before

    def remove(self, pack_id: str) -> None:
        """A pack has left the outbox."""
        self._under_way.discard(pack_id)
        self._waiting.pop(pack_id, None)
        self._not_before.pop(pack_id, None)

    def next_due(self) -> float | None:
        """The earliest monotonic time at which a pack that was put back may go; None: none was."""
        due = [when for key, when in self._not_before.items() if key not in self._under_way]
        return min(due, default=None)

    def pack_ids(self) -> set[str]:
        """Everything that waits or is under way."""
        return set(self._waiting)

    def under_way(self) -> int:
        """How many packs are being sent."""
        return len(self._under_way)

    def _ready(self, now: float) -> Iterator[Waiting]:
        return (
            entry
            for key, entry in self._waiting.items()
            if key not in self._under_way and self._not_before.get(key, 0.0) <= now
        )

    def depth(self) -> Depth:
        """How much waits, packs under way included."""
        entries = self._waiting.values()
        oldest = min((entry.since for entry in entries), default=None)
        return Depth(len(entries), sum(entry.size for entry in entries), oldest)
