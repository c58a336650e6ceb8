"""What the workflow keeps, as Protocols with two adapters each (`adapters.memory_workflow`, `adapters.postgres_*`).

Every method may raise `services.archive.errors.IndexUnavailable`; none changes anything then. `institutions` is whose
data the caller may see, None for every institution. The HIS bridge fills `Worklist`; until then the REST routes do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.archive.workflow.commitment import CommitmentRequest, CommitmentState, Outcome, Waiting
from services.archive.workflow.performed_step import PerformedStep, StepStatus
from services.archive.workflow.worklist import Entry, Placed, WorklistQuery


class Worklist(Protocol):
    """Scheduled steps by institution and entry id."""

    def put(self, entry: Entry) -> Placed:
        """Schedule a step, or say anew what it is; the same order again changes nothing.

        A cancelled one is scheduled again. Raises `services.archive.errors.EntryBegun` for another order where
        the examination has begun or ended.
        """

    def cancel(self, institution: str, entry_id: str, now: datetime) -> Entry | None:
        """Take a step off the worklist; None if it is not there. Cancelling twice is no harm.

        Raises `services.archive.errors.EntryBegun` where the examination has begun or ended.
        """

    def get(self, institution: str, entry_id: str) -> Entry | None:
        """The entry, whatever its state."""

    def find(self, query: WorklistQuery) -> Iterator[Entry]:
        """Answers by start, read in pages as they are taken."""


@dataclass(frozen=True, slots=True)
class StepQuery:
    """Which performed steps; None matches everything."""

    institutions: frozenset[str] | None
    study_uid: str | None = None
    status: StepStatus | None = None
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Workflow:
    """The workflow's stores of one archive."""

    worklist: Worklist
    steps: PerformedSteps
    commitments: Commitments


class PerformedSteps(Protocol):
    """Performed steps (MPPS); writing one moves the worklist entries that it names, in the same transaction."""

    def create(self, step: PerformedStep) -> None:
        """Keep a new step; durable on return. Raises `StepRefused` (0x0111) where the institution has it."""

    def change(
        self, institution: str, sop_instance_uid: str, decide: Callable[[PerformedStep], PerformedStep]
    ) -> PerformedStep:
        """Replace a step by what `decide` makes of it; nobody changes it meanwhile.

        Raises `StepRefused` (0x0112) where it is not there, and whatever `decide` raises.
        """

    def get(self, institution: str, sop_instance_uid: str) -> PerformedStep | None:
        """The step."""

    def find(self, query: StepQuery) -> list[PerformedStep]:
        """Steps, last changed first."""


class Commitments(Protocol):
    """Storage commitment requests, kept before they are answered and until they are reported."""

    def accept(self, request: CommitmentRequest, holder: str) -> None:
        """Keep a request, due at once; durable on return. The same one again is due again.

        Raises `CommitmentReused` for its transaction UID with other references.
        """

    def claim(self, institution: str, holder: str, now: datetime, lease: timedelta) -> Waiting | None:
        """The request that is due for longest: one of `holder`'s own, or one whose lease is over. It is the holder's
        from now on, and until the lease is over no other's."""

    def postpone(self, waiting: Waiting, due_at: datetime) -> None:
        """Try again then; the attempts are those of `waiting`."""

    def close(
        self, request: CommitmentRequest, state: CommitmentState, outcome: Outcome, now: datetime
    ) -> None:
        """It is reported or abandoned, with this outcome."""

    def state(self, institution: str, calling_ae: str, transaction_uid: str) -> CommitmentState | None:
        """Where a request stands; None for one that never came."""
