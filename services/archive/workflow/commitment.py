"""Storage commitment: what is asked, what is answered, and when it is tried again (PS3.4 annex J).

    (N-ACTION) -> WAITING -> REPORTED
                     `-> ABANDONED   the requester could not be reached for `LONGEST`

*Committed* means at the centre: the object lies in the region's object store and its row in the index; at a branch: in
a sealed, synced pack of the branch's own store and in its index. It does not say that the centre has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

LONGEST = timedelta(days=3)
GRACE = timedelta(seconds=5)
"""What was stored just before it is asked for may still be on its way into a pack and the index."""
PATIENCE = timedelta(minutes=15)
"""An instance that is not in the index by then is answered as missing, though others keep arriving."""
HELD_AT_FIRST = timedelta(minutes=2)
"""How long a new request is its receiver's own: the one who asked may wait on an association there."""
_LONGEST_PAUSE = timedelta(hours=1)


class CommitmentState(StrEnum):
    """Where a request stands."""

    WAITING = "WAITING"
    REPORTED = "REPORTED"
    ABANDONED = "ABANDONED"


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance as the requester names it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a device asked for; it is known by its transaction UID among those of its AE title."""

    institution: str
    site: str
    calling_ae: str
    transaction_uid: str
    references: tuple[Reference, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request whose report is due, and how often it was tried."""

    request: CommitmentRequest
    attempts: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report: what is committed, and what is not with its Failure Reason (0008,1197)."""

    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...]

    @property
    def missing(self) -> bool:
        """Whether something is not there, which may be a matter of time."""
        return any(reason == NO_SUCH_INSTANCE for _, reason in self.failed)


class CommitmentReused(Exception):
    """A transaction UID of the same device came with other references."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An instance that the index knows: its class and where its bytes end in which object."""

    sop_instance_uid: str
    sop_class_uid: str
    object_key: str
    end: int


def judged(
    references: Iterable[Reference], held: Mapping[str, Holding], object_size: Callable[[str], int | None]
) -> Outcome:
    """The outcome; `object_size` is None for an object that is not there, and is asked once for each."""
    sizes: dict[str, int | None] = {}
    committed, failed = [], []
    for reference in references:
        holding = held.get(reference.sop_instance_uid)
        if holding is None:
            failed.append((reference, NO_SUCH_INSTANCE))
        elif holding.sop_class_uid != reference.sop_class_uid:
            failed.append((reference, CLASS_INSTANCE_CONFLICT))
        else:
            key = holding.object_key
            if key not in sizes:
                sizes[key] = object_size(key)
            size = sizes[key]
            if size is None or size < holding.end:
                failed.append((reference, PROCESSING_FAILURE))
            else:
                committed.append(reference)
    return Outcome(tuple(committed), tuple(failed))


def is_final(outcome: Outcome, asked_at: datetime, now: datetime, *, arriving: bool) -> bool:
    """Whether this can be reported: nothing is missing, or nothing more can be on its way."""
    age = now - asked_at
    return not outcome.missing or age >= PATIENCE or (age >= GRACE and not arriving)


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts to report: 2 s, doubled each time, an hour at most."""
    return min(timedelta(seconds=2 << min(attempts, 16)), _LONGEST_PAUSE)
