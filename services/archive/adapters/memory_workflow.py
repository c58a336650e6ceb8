"""Worklist, performed steps and storage commitments in memory: for tests; they pass the same contract suite as PostgreSQL's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock

from services.archive.workflow.commitment import (
    HELD_AT_FIRST,
    CommitmentRequest,
    CommitmentReused,
    CommitmentState,
    Outcome,
    Waiting,
)
from services.archive.workflow.performed_step import PerformedStep, duplicate, missing
from services.archive.workflow.ports import StepQuery, Workflow
from services.archive.workflow.worklist import (
    Entry,
    EntryState,
    Placed,
    WorklistQuery,
    cancelled,
    moved,
    placed,
)


def memory_workflow() -> Workflow:
    """Empty stores that belong together."""
    worklist = MemoryWorklist()
    return Workflow(worklist, worklist.steps, MemoryCommitments())


class MemoryWorklist:
    """`services.archive.workflow.ports.Worklist`, with the performed steps that move its entries in `steps`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[tuple[str, str], Entry] = {}
        self.steps = MemorySteps(self._lock, self._entries)

    def put(self, entry: Entry) -> Placed:
        key = (entry.institution, entry.entry_id)
        with self._lock:
            done = placed(self._entries.get(key), entry)
            if done is not Placed.UNCHANGED:
                self._entries[key] = replace(entry, state=EntryState.SCHEDULED)
            return done

    def cancel(self, institution: str, entry_id: str, now: datetime) -> Entry | None:
        with self._lock:
            known = self._entries.get((institution, entry_id))
            if known is None:
                return None
            self._entries[(institution, entry_id)] = cancelled(known, now)
            return self._entries[(institution, entry_id)]

    def get(self, institution: str, entry_id: str) -> Entry | None:
        return self._entries.get((institution, entry_id))

    def find(self, query: WorklistQuery) -> Iterator[Entry]:
        with self._lock:
            found = [entry for entry in self._entries.values() if query.fits(entry)]
        yield from sorted(found, key=lambda e: (e.order.step.start, e.institution, e.entry_id))


class MemorySteps:
    """`services.archive.workflow.ports.PerformedSteps` beside the entries of a worklist."""

    def __init__(self, lock: Lock, entries: dict[tuple[str, str], Entry]) -> None:
        self._lock, self._entries = lock, entries
        self._steps: dict[tuple[str, str], PerformedStep] = {}

    def create(self, step: PerformedStep) -> None:
        with self._lock:
            if (step.institution, step.sop_instance_uid) in self._steps:
                raise duplicate(step.sop_instance_uid)
            self._keep(step)

    def change(
        self, institution: str, sop_instance_uid: str, decide: Callable[[PerformedStep], PerformedStep]
    ) -> PerformedStep:
        with self._lock:
            known = self._steps.get((institution, sop_instance_uid))
            if known is None:
                raise missing()
            return self._keep(decide(known))

    def _keep(self, step: PerformedStep) -> PerformedStep:
        self._steps[(step.institution, step.sop_instance_uid)] = step
        for key, entry in self._entries.items():
            self._entries[key] = moved(entry, step)
        return step

    def get(self, institution: str, sop_instance_uid: str) -> PerformedStep | None:
        return self._steps.get((institution, sop_instance_uid))

    def find(self, query: StepQuery) -> list[PerformedStep]:
        with self._lock:
            found = [
                step for step in self._steps.values()
                if (query.institutions is None or step.institution in query.institutions)
                and query.study_uid in (None, *step.study_uids) and query.status in (None, step.status)
            ]  # fmt: skip
        found.sort(key=lambda step: (step.changed_at, step.sop_instance_uid), reverse=True)
        return found[query.offset : query.offset + query.limit]


@dataclass(slots=True)
class _Commitment:
    request: CommitmentRequest
    holder: str
    due_at: datetime
    lease_until: datetime
    attempts: int = 0
    state: CommitmentState = CommitmentState.WAITING


class MemoryCommitments:
    """`services.archive.workflow.ports.Commitments` in a dictionary."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: dict[tuple[str, str, str], _Commitment] = {}

    def accept(self, request: CommitmentRequest, holder: str) -> None:
        with self._lock:
            known = self._rows.get(_key(request))
            if known is not None and known.request.references != request.references:
                raise CommitmentReused
            self._rows[_key(request)] = _Commitment(
                request, holder, request.received_at, request.received_at + HELD_AT_FIRST
            )

    def claim(self, institution: str, holder: str, now: datetime, lease: timedelta) -> Waiting | None:
        with self._lock:
            due = [
                row for row in self._rows.values()
                if row.state is CommitmentState.WAITING and row.request.institution == institution
                and row.due_at <= now and (row.holder == holder or row.lease_until <= now)
            ]  # fmt: skip
            if not due:
                return None
            row = min(due, key=lambda row: row.due_at)
            row.holder, row.lease_until = holder, now + lease
            return Waiting(row.request, row.attempts)

    def postpone(self, waiting: Waiting, due_at: datetime) -> None:
        with self._lock:
            row = self._rows[_key(waiting.request)]
            row.due_at, row.attempts = due_at, waiting.attempts

    def close(
        self, request: CommitmentRequest, state: CommitmentState, outcome: Outcome, now: datetime
    ) -> None:
        with self._lock:
            self._rows[_key(request)].state = state

    def state(self, institution: str, calling_ae: str, transaction_uid: str) -> CommitmentState | None:
        row = self._rows.get((institution, calling_ae, transaction_uid))
        return row.state if row is not None else None


def _key(request: CommitmentRequest) -> tuple[str, str, str]:
    return request.institution, request.calling_ae, request.transaction_uid
