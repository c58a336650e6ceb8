"""Orders and performed steps for tests, small and explicit."""

import json
from datetime import UTC, datetime
from typing import Any

from services.archive.workflow.order import Order
from services.archive.workflow.performed_step import PerformedStep, created
from services.archive.workflow.worklist import Entry, EntryState

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
STEP = "1.2.840.999.7"


def document(**changes: Any) -> dict[str, Any]:
    """A CT of Wang Xiaodong at a quarter past ten; `step__modality="MR"` changes a field within."""
    made: dict[str, Any] = {
        "patient": {
            "id": "P1", "name": {"alphabetic": "Wang^XiaoDong", "ideographic": "王^小东"},
            "birth_date": "1970-01-01", "sex": "M", "weight_kg": 70.5, "allergies": ["PENICILLIN", "青霉素"],
        },
        "procedure": {"id": "RP1", "description": "CT CHEST", "study_instance_uid": "1.2.3", "priority": "ROUTINE"},
        "step": {
            "id": "SPS1", "station_ae_titles": ["CT1", "CT2"], "modality": "CT", "start": "2025-03-01T10:15:00",
            "description": "胸部平扫", "performing_physician": {"alphabetic": "Li^Na", "ideographic": "李^娜"},
        },
        "accession_number": "A1",
    }  # fmt: skip
    for path, value in changes.items():
        target, *names = made, *path.split("__")
        for name in names[:-1]:
            target = target.setdefault(name, {})
        target[names[-1]] = value
    return made


def an_order(**changes: Any) -> Order:
    """The document as an order."""
    return Order.model_validate_json(json.dumps(document(**changes)))


def an_entry(entry_id: str = "E1", *, institution: str = "yanan", **changes: Any) -> Entry:
    """A scheduled entry."""
    return Entry(institution, "yanchang", entry_id, an_order(**changes), EntryState.SCHEDULED, NOON)


def attributes(**changes: Any) -> dict[str, Any]:
    """What an N-CREATE has, as DICOM JSON; a keyword is `t` and the tag, None leaves it out."""
    made: dict[str, Any] = {
        "00400270": {"vr": "SQ", "Value": [{
            "0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00400009": {"vr": "SH", "Value": ["SPS1"]},
            "00080050": {"vr": "SH", "Value": ["A1"]},
        }]},
        "00400253": {"vr": "SH", "Value": ["PPS1"]}, "00400241": {"vr": "AE", "Value": ["CT1"]},
        "00400244": {"vr": "DA", "Value": ["20250301"]}, "00400245": {"vr": "TM", "Value": ["101600"]},
        "00400252": {"vr": "CS", "Value": ["IN PROGRESS"]}, "00080060": {"vr": "CS", "Value": ["CT"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]},
    }  # fmt: skip
    for name, value in changes.items():
        if value is None:
            made.pop(name[1:], None)
        else:
            made[name[1:]] = value
    return made


def final(status: str, **changes: Any) -> dict[str, Any]:
    """What an N-SET to a final state has."""
    return {
        "00400252": {"vr": "CS", "Value": [status]}, "00400250": {"vr": "DA", "Value": ["20250301"]},
        "00400251": {"vr": "TM", "Value": ["102500"]},
        "00400340": {"vr": "SQ", "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2.3.1"]}}]},
    } | {name[1:]: value for name, value in changes.items()}  # fmt: skip


def a_step(
    uid: str = STEP, *, institution: str = "yanan", now: datetime = NOON, **changes: Any
) -> PerformedStep:
    """A step in progress."""
    return created(
        uid, attributes(**changes), now, institution=institution, site="yanchang", calling_ae="CT1"
    )
