"""Which records share a pack, and when it is closed (docs/contracts.md, section 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.packs.record import Record


@dataclass(frozen=True, slots=True)
class SealingRules:
    """When a pack is closed, and the pauses before what failed is tried again. Seconds and bytes."""

    idle_seconds: float = 2.0
    max_age_seconds: float = 2.0
    max_bytes: int = 64 << 20
    retry_seconds: float = 0.5
    max_retry_seconds: float = 60.0


class Study(NamedTuple):
    """Whose study it is; what comes from two sites never shares a pack."""

    institution: str
    site: str
    study_uid: str


class Closed(NamedTuple):
    """Records that are to be one pack."""

    study: Study
    records: list[Record]

    @property
    def bytes(self) -> int:
        return sum(record.length for record in self.records)


@dataclass(slots=True)
class _Open:
    """Records of one study that still gather. `oldest` and `newest` are monotonic seconds."""

    oldest: float
    newest: float
    records: list[Record] = field(default_factory=list)
    bytes: int = 0
    associations: set[str] = field(default_factory=set)

    def due_at(self, rules: SealingRules) -> float:
        return min(self.newest + rules.idle_seconds, self.oldest + rules.max_age_seconds)


class Gathering:
    """Durable records on their way to a pack. Not thread safe: the sealer holds its lock around every call."""

    def __init__(self, rules: SealingRules) -> None:
        self._rules = rules
        self._open: dict[Study, _Open] = {}
        self.closed: deque[Closed] = deque()

    def add(self, record: Record, now: float) -> None:
        """Take a record at monotonic time `now`; a group that it fills is closed."""
        header = record.header
        study = Study(header.institution, header.site, header.study_uid)
        group = self._open.get(study)
        if group is not None and group.bytes + record.length > self._rules.max_bytes:
            self._close(study)
            group = None
        if group is None:
            group = self._open[study] = _Open(oldest=now, newest=now)
        group.newest = now
        group.records.append(record)
        group.bytes += record.length
        group.associations.add(header.association)
        if group.bytes >= self._rules.max_bytes:
            self._close(study)

    def close_association(self, association: str) -> None:
        """Close the studies that this association sent."""
        self._close_all(study for study, group in self._open.items() if association in group.associations)

    def close_due(self, now: float) -> None:
        """Close what has rested or waited long enough."""
        self._close_all(study for study, group in self._open.items() if group.due_at(self._rules) <= now)

    def next_due(self) -> float | None:
        """When the next open group will be due; None when none is open."""
        return min((group.due_at(self._rules) for group in self._open.values()), default=None)

    @property
    def bytes(self) -> int:
        """Bytes of all records here, open and closed."""
        return sum(one.bytes for one in self.closed) + sum(group.bytes for group in self._open.values())

    def __bool__(self) -> bool:
        return bool(self._open or self.closed)

    def _close_all(self, studies: Iterable[Study]) -> None:
        for study in list(studies):
            self._close(study)

    def _close(self, study: Study) -> None:
        self.closed.append(Closed(study, self._open.pop(study).records))
