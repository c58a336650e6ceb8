"""Scheduled steps and how a question is matched against them (PS3.4 K.2.2.1, C.2.2.2).

    SCHEDULED -> STARTED -> COMPLETED
        |           `-----> DISCONTINUED -> STARTED (the examination is repeated) ...
        `-> CANCELLED (by whoever ordered it) -> SCHEDULED (ordered again)

Modalities see what is SCHEDULED or STARTED. What a performed step reports moves its entry; that an examination took
place is a fact, whatever was cancelled meanwhile.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from services.archive.errors import EntryBegun
from services.archive.index.names import normalise
from services.archive.index.query import (
    Between,
    Condition,
    NameLike,
    NameWords,
    OneOf,
    Wildcard,
    name_fits,
    wildcard_fits,
)
from services.archive.index.records import SearchName
from services.archive.workflow.order import Order, Person
from services.archive.workflow.performed_step import PerformedStep, ScheduledLink, StepStatus


class EntryState(StrEnum):
    """Where a scheduled step stands."""

    SCHEDULED = "SCHEDULED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"
    CANCELLED = "CANCELLED"


OPEN = frozenset({EntryState.SCHEDULED, EntryState.STARTED})
"""What a modality is shown."""


class Placed(StrEnum):
    """What putting an entry did."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Entry:
    """A scheduled step of an institution; `performed_step` is the MPPS instance that last moved it."""

    institution: str
    site: str
    entry_id: str
    order: Order
    state: EntryState
    changed_at: datetime
    performed_step: str | None = None

    @property
    def study_uid(self) -> str:
        """The order's Study Instance UID, or the one that belongs to this entry (PS3.5 B.2)."""
        given = self.order.procedure.study_instance_uid
        return given or f"2.25.{uuid.uuid5(_OF_ENTRIES, f'{self.institution}/{self.entry_id}').int}"


_OF_ENTRIES = uuid.UUID("6f0d5e0c-6a1c-4ac0-9c0f-5d7d0a3c8a11")


def state_after(state: EntryState, performed: StepStatus) -> EntryState:
    """What a performed step's report makes of an entry's state."""
    if state is EntryState.COMPLETED:
        return state
    if performed is StepStatus.COMPLETED:
        return EntryState.COMPLETED
    if performed is StepStatus.IN_PROGRESS:
        return EntryState.STARTED
    return EntryState.DISCONTINUED if state in OPEN else state


def placed(known: Entry | None, entry: Entry) -> Placed:
    """What putting `entry` does where `known` stands under its id. Raises `EntryBegun`."""
    if known is None:
        return Placed.ADDED
    if known.state is EntryState.CANCELLED:
        return Placed.CHANGED
    if known.order == entry.order:
        return Placed.UNCHANGED
    if known.state is not EntryState.SCHEDULED:
        raise EntryBegun(entry.entry_id, known.state)
    return Placed.CHANGED


def cancelled(entry: Entry, now: datetime) -> Entry:
    """The entry once whoever ordered it took it back. Raises `EntryBegun`."""
    if entry.state not in (EntryState.SCHEDULED, EntryState.CANCELLED):
        raise EntryBegun(entry.entry_id, entry.state)
    return (
        entry
        if entry.state is EntryState.CANCELLED
        else replace(entry, state=EntryState.CANCELLED, changed_at=now)
    )


def moved(entry: Entry, step: PerformedStep) -> Entry:
    """The entry after a performed step was reported; itself where that is not about it or changes nothing."""
    state = state_after(entry.state, step.status)
    if entry.institution != step.institution or state is entry.state or not answers(entry, step.links):
        return entry
    return replace(entry, state=state, performed_step=step.sop_instance_uid, changed_at=step.changed_at)


def answers(entry: Entry, links: Iterable[ScheduledLink]) -> bool:
    """Whether one of these names the entry: by its step id within its study, or its accession number."""
    accession = entry.order.accession_number
    return any(
        link.step_id == entry.order.step.id
        and (link.study_uid == entry.study_uid or (accession != "" and link.accession_number == accession))
        for link in links
    )


@dataclass(frozen=True, slots=True)
class WorklistQuery:
    """A question; what is None or absent matches everything.

    `texts` is keyed by `TEXTS`, `names` by `NAMES`. Dates are `YYYYMMDD`, times `HHMMSS.ffffff`.
    """

    institutions: frozenset[str] | None
    states: frozenset[EntryState] = OPEN
    texts: Mapping[str, OneOf | Wildcard] = field(default_factory=dict)
    names: Mapping[str, NameLike] = field(default_factory=dict)
    dates: Between | None = None
    times: Between | None = None

    @classmethod
    def asking(
        cls,
        institutions: frozenset[str] | None,
        conditions: Iterable[Condition],
        states: frozenset[EntryState] = OPEN,
    ) -> Self:
        """A question of these conditions; their keys' columns are names of `TEXTS` or `NAMES`, `dates` or `times`."""
        texts: dict[str, OneOf | Wildcard] = {}
        names: dict[str, NameLike] = {}
        ranges: dict[str, Between] = {}
        for condition in conditions:
            column = condition.key.column
            match condition.matcher:
                case NameLike() as name:
                    names[column] = name
                case Between() as between:
                    ranges[column] = between
                case OneOf() | Wildcard() as text:
                    texts[column] = text
                case NameWords():
                    raise TypeError("the worklist matches names literally")
        return cls(
            institutions,
            states,
            texts=texts,
            names=names,
            dates=ranges.get("dates"),
            times=ranges.get("times"),
        )

    def fits(self, entry: Entry) -> bool:
        """Whether the entry is an answer."""
        return (
            (self.institutions is None or entry.institution in self.institutions)
            and entry.state in self.states
            and all(_text_fits(matcher, TEXTS[key](entry)) for key, matcher in self.texts.items())
            and all(name_fits(matcher, _search(NAMES[key](entry))) for key, matcher in self.names.items())
            and self._starts_in_time(entry.order.step.start)
        )

    def _starts_in_time(self, start: datetime) -> bool:
        day, clock = start.strftime("%Y%m%d"), start.strftime("%H%M%S.%f")
        dates, times = self.dates, self.times
        if dates is not None and times is not None and _is_range(dates) and _is_range(times):
            # PS3.4 K.6.1.2.2, on Scheduled Procedure Step Start Date: two ranges are one period, from the first
            # day's first time to the last day's last.
            low = dates.low + (times.low or "000000") if dates.low else ""
            high = dates.high + (times.high or "235959.999999") if dates.high else ""
            return _within(low, high, day + clock)
        return (dates is None or _within(dates.low, dates.high, day)) and (
            times is None or _within(times.low, times.high, clock)
        )


TEXTS: dict[str, Callable[[Entry], tuple[str, ...]]] = {
    "station_ae_title": lambda entry: entry.order.step.station_ae_titles,
    "modality": lambda entry: (entry.order.step.modality,),
    "step_id": lambda entry: (entry.order.step.id,),
    "patient_id": lambda entry: (entry.order.patient.id,),
    "issuer": lambda entry: (entry.order.patient.issuer,),
    "accession_number": lambda entry: (entry.order.accession_number,),
    "procedure_id": lambda entry: (entry.order.procedure.id,),
    "study_uid": lambda entry: (entry.study_uid,),
    "admission_id": lambda entry: (entry.order.visit.admission_id,),
}
NAMES: dict[str, Callable[[Entry], Person | None]] = {
    "patient_name": lambda entry: entry.order.patient.name,
    "performing_physician": lambda entry: entry.order.step.performing_physician,
    "requesting_physician": lambda entry: entry.order.requesting_physician,
    "referring_physician": lambda entry: entry.order.referring_physician,
}


def _text_fits(matcher: OneOf | Wildcard, values: tuple[str, ...]) -> bool:
    if isinstance(matcher, OneOf):
        return any(value in matcher.values for value in values)
    return any(wildcard_fits(pattern, value) for value in values for pattern in matcher.patterns)


def _search(person: Person | None) -> SearchName:
    if person is None:
        return SearchName("", "", "")
    return SearchName(normalise(person.alphabetic), normalise(person.ideographic), normalise(person.phonetic))


def _is_range(asked: Between) -> bool:
    return asked.low != asked.high


def _within(low: str, high: str, value: str) -> bool:
    return (not low or low <= value) and (not high or value <= high)
