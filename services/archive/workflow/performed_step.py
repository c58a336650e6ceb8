"""Modality performed procedure steps and their state machine (PS3.4 F.7.2).

    (N-CREATE) -> IN PROGRESS -> COMPLETED | DISCONTINUED      nothing changes after these two

Attributes are a DICOM JSON object (PS3.18 F.2). A refusal has the status that PS3.4 table F.7.2-2 or PS3.7 10.1
gives to its reason.

| status | when |
|---|---|
| 0x0106 | a status that is none, or another than IN PROGRESS in N-CREATE |
| 0x0110, Error ID 0xA710 | N-SET of a step that is COMPLETED or DISCONTINUED |
| 0x0111 | N-CREATE of a step that is there (PS3.7: duplicate SOP instance) |
| 0x0112 | N-SET of a step that is not there |
| 0x0117 | a UID breaks PS3.5 9.1 |
| 0x0120 | N-CREATE without an attribute that it needs |
| 0x0121 | an attribute without a value, or a final state without what it needs |
| 0x0213 | an attribute list beyond our limit |
| 0x0107 | warning: N-SET also had attributes that it may not change; the others were |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.packs.instance import InstanceError, check_uid

Attributes = Mapping[str, Any]

INVALID_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
INVALID_INSTANCE = 0x0117
MISSING_ATTRIBUTE = 0x0120
MISSING_VALUE = 0x0121
MAY_NO_LONGER_BE_UPDATED = 0xA710

_STATUS, _SERIES, _SCHEDULED = "00400252", "00400340", "00400270"
_END_DATE, _END_TIME = "00400250", "00400251"
_STUDY, _ACCESSION, _STEP_ID = "0020000D", "00080050", "00400009"

# PS3.4 table F.7.2-1: type 1 of N-CREATE for the SCU.
_DEMANDED = {
    _SCHEDULED: "Scheduled Step Attributes Sequence",
    "00400253": "Performed Procedure Step ID",
    "00400241": "Performed Station AE Title",
    "00400244": "Performed Procedure Step Start Date",
    "00400245": "Performed Procedure Step Start Time",
    _STATUS: "Performed Procedure Step Status",
    "00080060": "Modality",
}
# The same table: what is settled by N-CREATE ("Not allowed" in N-SET).
_SETTLED = frozenset(
    {
        _SCHEDULED, "00100010", "00100020", "00100021", "00100024", "00100030", "00100040", "00101002", "00081120",
        "00400253", "00400241", "00400242", "00400243", "00400244", "00400245", "00080060", "00200010", "00380010",
    }
)  # fmt: skip


class StepStatus(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class StepRefused(Exception):
    """An operation that the standard does not allow: DIMSE status, Error Comment, Error ID, tags concerned."""

    def __init__(
        self, status: int, comment: str, *, error_id: int | None = None, tags: Sequence[str] = ()
    ) -> None:
        super().__init__(comment)
        self.status, self.comment, self.error_id, self.tags = status, comment, error_id, tuple(tags)


@dataclass(frozen=True, slots=True)
class ScheduledLink:
    """Which scheduled step was performed, as the modality tells it; parts may be empty."""

    study_uid: str
    step_id: str
    accession_number: str


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """An MPPS instance of an institution."""

    institution: str
    site: str
    sop_instance_uid: str
    status: StepStatus
    calling_ae: str
    attributes: Attributes
    created_at: datetime
    changed_at: datetime

    @property
    def links(self) -> tuple[ScheduledLink, ...]:
        """The scheduled steps it answers; unscheduled work has a study and no step id."""
        return tuple(
            ScheduledLink(_text(item, _STUDY), _text(item, _STEP_ID), _text(item, _ACCESSION))
            for item in _items(self.attributes, _SCHEDULED)
        )

    @property
    def study_uids(self) -> tuple[str, ...]:
        """The studies it belongs to."""
        return tuple(dict.fromkeys(link.study_uid for link in self.links))


def created(
    sop_instance_uid: str,
    attributes: Attributes,
    now: datetime,
    *,
    institution: str,
    site: str,
    calling_ae: str,
) -> PerformedStep:
    """The step that an N-CREATE makes. Raises `StepRefused`."""
    _check_uid(sop_instance_uid, INVALID_INSTANCE, "Affected SOP Instance UID", ())
    absent = [tag for tag in _DEMANDED if tag not in attributes]
    if absent:
        raise StepRefused(MISSING_ATTRIBUTE, f"Missing: {_DEMANDED[absent[0]]}", tags=absent)
    empty = [tag for tag in _DEMANDED if not attributes[tag].get("Value")]
    if empty:
        raise StepRefused(MISSING_VALUE, f"Without value: {_DEMANDED[empty[0]]}", tags=empty)
    status = _status(attributes)
    if status is not StepStatus.IN_PROGRESS:
        raise StepRefused(INVALID_VALUE, "A step begins IN PROGRESS", tags=[_STATUS])
    for item in _items(attributes, _SCHEDULED):
        if not _text(item, _STUDY):
            raise StepRefused(MISSING_VALUE, "Without value: Study Instance UID", tags=[_SCHEDULED])
        _check_uid(_text(item, _STUDY), INVALID_VALUE, "Study Instance UID", [_SCHEDULED])
    return PerformedStep(
        institution, site, sop_instance_uid, status, calling_ae, dict(attributes), created_at=now, changed_at=now
    )  # fmt: skip


def changed(
    step: PerformedStep, attributes: Attributes, now: datetime
) -> tuple[PerformedStep, tuple[str, ...]]:
    """The step after an N-SET, and the tags that it may not change and that were left. Raises `StepRefused`."""
    if step.status is not StepStatus.IN_PROGRESS:
        raise StepRefused(
            PROCESSING_FAILURE,
            "Performed Procedure Step Object may no longer be updated",
            error_id=MAY_NO_LONGER_BE_UPDATED,
        )
    left = tuple(tag for tag in attributes if tag in _SETTLED and attributes[tag] != step.attributes.get(tag))
    merged = {**step.attributes, **{tag: value for tag, value in attributes.items() if tag not in _SETTLED}}
    status = _status(merged)
    if status is not StepStatus.IN_PROGRESS:
        _check_final(merged, status)
    return replace(step, status=status, attributes=merged, changed_at=now), left


def duplicate(sop_instance_uid: str) -> StepRefused:
    """The refusal of an N-CREATE whose instance is there."""
    return StepRefused(DUPLICATE_INSTANCE, f"It is there already: {sop_instance_uid}"[:64])


def missing() -> StepRefused:
    """The refusal of an N-SET whose instance is not there."""
    return StepRefused(NO_SUCH_INSTANCE, "No such performed step: N-CREATE comes first")


def _check_final(attributes: Attributes, status: StepStatus) -> None:
    """PS3.4 table F.7.2-1, final state. Of a step that was broken off no series is demanded: there may be none,
    and a refusal would leave it IN PROGRESS for ever."""
    demanded = {
        _END_DATE: "Performed Procedure Step End Date",
        _END_TIME: "Performed Procedure Step End Time",
    }
    if status is StepStatus.COMPLETED:
        demanded[_SERIES] = "Performed Series Sequence"
    absent = [tag for tag in demanded if not attributes.get(tag, {}).get("Value")]
    if absent:
        raise StepRefused(MISSING_VALUE, f"{status} needs {demanded[absent[0]]}", tags=absent)


def _status(attributes: Attributes) -> StepStatus:
    given = _text(attributes, _STATUS)
    if not given:
        raise StepRefused(MISSING_VALUE, "Without value: Performed Procedure Step Status", tags=[_STATUS])
    try:
        return StepStatus(given)
    except ValueError:
        raise StepRefused(INVALID_VALUE, "No such Performed Procedure Step Status", tags=[_STATUS]) from None


def _check_uid(uid: str, status: int, what: str, tags: Sequence[str]) -> None:
    try:
        check_uid(uid, what)
    except InstanceError:
        raise StepRefused(status, f"{what} is no UID (PS3.5 9.1)", tags=tags) from None


def _text(attributes: Attributes, tag: str) -> str:
    value = attributes.get(tag, {}).get("Value")
    return value[0].strip() if value and isinstance(value[0], str) else ""


def _items(attributes: Attributes, tag: str) -> Iterator[Attributes]:
    return (item for item in attributes.get(tag, {}).get("Value") or [] if isinstance(item, Mapping))
