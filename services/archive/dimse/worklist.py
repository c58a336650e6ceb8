"""Modality Worklist SCP: C-FIND over scheduled steps (PS3.4 annex K).

| status | when |
|---|---|
| 0xFF00 | an answer |
| 0xFF01 | an answer, and the identifier had keys that are not supported |
| 0x0000 | no more answers |
| 0xFE00 | cancelled by the requester |
| 0xA700 | the worklist cannot be read now |
| 0xA900 | the identifier is none of a worklist: a value or sequence that cannot be a key |
| 0xC000 | the identifier cannot be decoded |

A modality is shown the entries of the institutions that it may query: the archive's own unless said otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom import evt

from services.archive.dimse.caller import Address, address_of
from services.archive.dimse.character_set import asked_by, make_readable
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.status import status_of
from services.archive.index.query import Condition, Key, Kind, Level, condition
from services.archive.workflow.ports import Worklist
from services.archive.workflow.worklist import WorklistQuery
from services.archive.workflow.worklist_attributes import attributes_of
from services.common.errors import BadRequest, PacsError

logger = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.5.1.4.31"
PENDING, PENDING_WITHOUT_SOME_KEYS = 0xFF00, 0xFF01
SUCCESS, CANCELLED = 0x0000, 0xFE00
OUT_OF_RESOURCES, DOES_NOT_MATCH, UNABLE_TO_PROCESS = 0xA700, 0xA900, 0xC000
MOST_IDENTIFIER_BYTES = 64 << 10

InstitutionsOf = Callable[[str, Address], frozenset[str]]
"""Whose data the caller with this AE title and address may query."""
Answers = Iterator[tuple[Dataset | int, Dataset | None]]

_STEP = 0x00400100
# A worklist has one level (K.6.1.1); the last field is the name in `WorklistQuery`.
_KEYS = {
    int(key.tag, 16): key
    for key in (
        Key("PatientName", "00100010", Level.STUDY, Kind.NAME, "patient_name"),
        Key("PatientID", "00100020", Level.STUDY, Kind.TEXT, "patient_id"),
        Key("IssuerOfPatientID", "00100021", Level.STUDY, Kind.TEXT, "issuer"),
        Key("AccessionNumber", "00080050", Level.STUDY, Kind.TEXT, "accession_number"),
        Key("ReferringPhysicianName", "00080090", Level.STUDY, Kind.NAME, "referring_physician"),
        Key("RequestingPhysician", "00321032", Level.STUDY, Kind.NAME, "requesting_physician"),
        Key("RequestedProcedureID", "00401001", Level.STUDY, Kind.TEXT, "procedure_id"),
        Key("StudyInstanceUID", "0020000D", Level.STUDY, Kind.UID, "study_uid"),
        Key("AdmissionID", "00380010", Level.STUDY, Kind.TEXT, "admission_id"),
        Key("ScheduledStationAETitle", "00400001", Level.STUDY, Kind.TEXT, "station_ae_title"),
        Key("ScheduledProcedureStepStartDate", "00400002", Level.STUDY, Kind.DATE, "dates"),
        Key("ScheduledProcedureStepStartTime", "00400003", Level.STUDY, Kind.TIME, "times"),
        Key("Modality", "00080060", Level.STUDY, Kind.TEXT, "modality"),
        Key("ScheduledPerformingPhysicianName", "00400006", Level.STUDY, Kind.NAME, "performing_physician"),
        Key("ScheduledProcedureStepID", "00400009", Level.STUDY, Kind.TEXT, "step_id"),
    )
}
_IN_STEP = frozenset({0x00400001, 0x00400002, 0x00400003, 0x00080060, 0x00400006, 0x00400009})
# They say how to read the identifier and ask for nothing.
_NOT_ASKED = frozenset({0x00080005, 0x00080201})


class WorklistProvider:
    """Answers C-FIND; `refused` is told the status of each refusal."""

    def __init__(
        self, worklist: Worklist, institutions_of: InstitutionsOf, refused: Callable[[int], None]
    ) -> None:
        self._worklist, self._institutions_of, self._refused = worklist, institutions_of, refused

    def service_class(self) -> ServiceClass:
        return ServiceClass([SOP_CLASS], {evt.EVT_C_FIND: self._on_find})

    def _on_find(self, event: evt.Event) -> Answers:
        """Never raises: what the library would log of an exception may quote the identifier."""
        try:
            yield from self._found(event)
        except BadRequest as error:
            yield self._refuse(event, DOES_NOT_MATCH, error.detail), None
        except PacsError as error:
            logger.warning("a worklist query failed", exc_info=True)
            yield self._refuse(event, OUT_OF_RESOURCES, error.detail), None
        except Exception:
            logger.exception("a worklist query failed unexpectedly")
            yield self._refuse(event, UNABLE_TO_PROCESS, "A fault of the archive. Ask later"), None

    def _found(self, event: evt.Event) -> Answers:
        identifier = _decoded(event)
        if identifier is None:
            yield self._refuse(event, UNABLE_TO_PROCESS, "The identifier cannot be decoded"), None
            return
        asked = asked_by(identifier)
        requestor = event.assoc.requestor
        seen = self._institutions_of(requestor.ae_title, address_of(requestor.address))
        for entry in self._worklist.find(read_query(identifier, seen)):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            full = attributes_of(entry)
            answer = chosen(full, identifier)
            make_readable(answer, asked)
            yield PENDING if is_supported(full, identifier) else PENDING_WITHOUT_SOME_KEYS, answer

    def _refuse(self, event: evt.Event, status: int, why: str) -> Dataset:
        logger.warning(
            "worklist query of %s refused with 0x%04X: %s", event.assoc.requestor.ae_title, status, why
        )
        self._refused(status)
        return status_of(status, why)


def read_query(identifier: Dataset, institutions: frozenset[str]) -> WorklistQuery:
    """What an identifier asks for. Raises `BadRequest`."""
    conditions: list[Condition] = []
    steps = list(identifier.get(_STEP).value or []) if _STEP in identifier else []
    if len(steps) > 1:
        raise BadRequest("More than one item in Scheduled Procedure Step Sequence", action="Send one.")
    step = steps[0] if steps else Dataset()
    # A key counts where the table has it: Modality within the step, for example, and nowhere else.
    keys = [element for element in identifier if element.tag not in _IN_STEP and element.tag != _STEP]
    keys += [element for element in step if element.tag in _IN_STEP]
    for element in keys:
        key = _KEYS.get(element.tag)
        made = condition(key, _value(element)) if key is not None else None
        if made is not None:
            conditions.append(made)
    return WorklistQuery.asking(institutions, conditions)


def chosen(full: Dataset, identifier: Dataset) -> Dataset:
    """Of the attributes in `full` those that `identifier` asks for; of a sequence without keys, all of its item."""
    answer = Dataset()
    for element in identifier:
        if element.tag not in full or element.tag in _NOT_ASKED:
            continue
        known = full[element.tag]
        if element.VR == "SQ" and known.VR == "SQ" and element.value and len(element.value[0]):
            answer.add_new(element.tag, "SQ", [chosen(item, element.value[0]) for item in known.value])
        else:
            answer.add(known)
    return answer


def is_supported(full: Dataset, identifier: Dataset) -> bool:
    """K.4.1.1.4: whether every key is an attribute of `full`, and each one with a value is matched."""
    for element in identifier:
        if element.tag in _NOT_ASKED:
            continue
        if element.tag not in full or (_value(element) and element.tag not in _KEYS):
            return False
    within = [e for e in identifier if e.VR == "SQ" and e.value and e.tag not in _NOT_ASKED]
    return all(is_supported(full[e.tag].value[0], e.value[0]) for e in within if full[e.tag].value)


def _decoded(event: evt.Event) -> Dataset | None:
    """The identifier with every element read, or None: devices send what no parser was made for."""
    request: Any = event.request
    content = request.Identifier
    if content is None or len(content.getvalue()) > MOST_IDENTIFIER_BYTES:
        return None
    try:
        identifier: Dataset = event.identifier
        for _ in identifier.iterall():
            pass
    except (Exception, RecursionError):
        logger.warning("an identifier cannot be decoded", exc_info=True)
        return None
    return identifier


def _value(element: DataElement) -> str:
    value = element.value
    if value is None or element.VR == "SQ":
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
