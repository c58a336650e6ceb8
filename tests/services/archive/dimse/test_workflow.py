"""Worklist and MPPS on an association: what a modality is answered (PS3.4 annexes F.7 and K)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import Association
from pynetdicom.dimse_primitives import C_FIND, N_CREATE

from services.archive.adapters.memory_workflow import memory_workflow
from services.archive.dimse import performed_step, worklist
from services.archive.dimse.performed_step import StepProvider
from services.archive.dimse.worklist import WorklistProvider
from services.archive.errors import IndexUnavailable
from services.archive.workflow.ports import StepQuery, Workflow
from services.archive.workflow.worklist import Entry, EntryState
from services.common.clock import SystemClock
from tests.services.archive.dimse.test_server import Running, running
from tests.services.archive.workflow.orders import STEP, an_entry

# PS3.4 table K.6-1: what an SCP returns as type 1 or 2.
OUTER = (
    "AccessionNumber", "RequestingPhysician", "ReferringPhysicianName", "AdmissionID", "CurrentPatientLocation",
    "ReferencedPatientSequence", "ReferencedStudySequence", "RequestedProcedureID", "RequestedProcedureDescription",
    "StudyInstanceUID", "RequestedProcedurePriority", "PatientTransportArrangements", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "PatientWeight", "ConfidentialityConstraintOnPatientDataDescription",
    "PatientState", "PregnancyStatus", "MedicalAlerts", "Allergies", "SpecialNeeds",
)  # fmt: skip
INNER = (
    "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "Modality",
    "ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledStationName",
    "ScheduledProcedureStepLocation", "ScheduledProtocolCodeSequence", "PreMedication", "ScheduledProcedureStepID",
    "RequestedContrastAgent",
)  # fmt: skip
YANAN = frozenset({"yanan"})
FIND, MPPS = worklist.SOP_CLASS, performed_step.SOP_CLASS


class Modality:
    """An archive's listener with both services, and an association to it."""

    def __init__(self, started: Running, workflow: Workflow, refusals: list[int]) -> None:
        self.workflow, self.refusals, self._started = workflow, refusals, started

    def associate(self, *syntaxes: str) -> Association:
        contexts = [(one, syntax) for syntax in syntaxes or (ExplicitVRLittleEndian,) for one in (FIND, MPPS)]
        return self._started.associate(*contexts)

    def find(
        self, identifier: Dataset, syntax: str = ExplicitVRLittleEndian
    ) -> tuple[list[int], list[Dataset]]:
        association = self.associate(syntax)
        responses = [(status, found) for status, found in association.send_c_find(identifier, FIND)]
        association.release()
        return [s.Status for s, _ in responses], [found for _, found in responses if found is not None]

    def state(self, entry_id: str = "E1") -> EntryState:
        entry = self.workflow.worklist.get("yanan", entry_id)
        assert entry is not None
        return entry.state


@pytest.fixture
def modality(tmp_path: Path) -> Iterator[Modality]:
    workflow, refusals = memory_workflow(), list[int]()
    services = (
        WorklistProvider(workflow.worklist, lambda *_: YANAN, refusals.append).service_class(),
        StepProvider(workflow.steps, "yanan", "yanchang", SystemClock(), refusals.append).service_class(),
    )
    with running(tmp_path, *services) as started:
        yield Modality(started, workflow, refusals)


def identifier(**keys: Any) -> Dataset:
    """A broad query's identifier; `step__Modality` is a key within the step."""
    made, step = Dataset(), Dataset()
    made.PatientName = made.PatientID = made.AccessionNumber = made.StudyInstanceUID = ""
    step.ScheduledStationAETitle = step.ScheduledProcedureStepStartDate = step.Modality = ""
    step.ScheduledProcedureStepStartTime = step.ScheduledProcedureStepID = ""
    for name, value in keys.items():
        within = name.startswith("step__")
        setattr(step if within else made, name.removeprefix("step__"), value)
    made.ScheduledProcedureStepSequence = [step]
    return made


def begun(**changes: Any) -> Dataset:
    """The attribute list of an N-CREATE; None leaves an attribute out."""
    made, link = Dataset(), Dataset()
    link.StudyInstanceUID, link.ScheduledProcedureStepID, link.AccessionNumber = "1.2.3", "SPS1", "A1"
    made.SpecificCharacterSet = "GB18030"
    made.PatientName, made.PatientID = "Wang^XiaoDong=王^小东", "P1"
    made.ScheduledStepAttributesSequence = [link]
    made.PerformedProcedureStepID, made.PerformedStationAETitle, made.Modality = "PPS1", "CT1", "CT"
    made.PerformedProcedureStepStartDate, made.PerformedProcedureStepStartTime = "20250301", "101600"
    made.PerformedProcedureStepStatus = "IN PROGRESS"
    made.PerformedSeriesSequence = []
    for name, value in changes.items():
        if value is None:
            delattr(made, name)
        else:
            setattr(made, name, value)
    return made


def ended(status: str = "COMPLETED", **changes: Any) -> Dataset:
    made, series = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ProtocolName = "1.2.3.1", "THORAX"
    made.PerformedProcedureStepStatus = status
    made.PerformedProcedureStepEndDate, made.PerformedProcedureStepEndTime = "20250301", "102500"
    made.PerformedSeriesSequence = [series]
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_an_answer_has_what_was_asked_for_and_nothing_else(modality: Modality, syntax: str) -> None:
    modality.workflow.worklist.put(an_entry())
    statuses, [answer] = modality.find(identifier(), syntax)
    assert statuses == [0xFF00, 0x0000]
    [step] = answer.ScheduledProcedureStepSequence
    assert (answer.PatientName, answer.PatientID, answer.AccessionNumber) == (
        "Wang^XiaoDong=王^小东",
        "P1",
        "A1",
    )
    assert (list(step.ScheduledStationAETitle), step.Modality) == (["CT1", "CT2"], "CT")
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == (
        "20250301",
        "101500",
    )
    assert "PatientSex" not in answer
    assert "ScheduledProcedureStepDescription" not in step


def test_a_step_sequence_without_keys_brings_all_of_the_step(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry())
    for empty in ([], [Dataset()]):
        asked = Dataset()
        asked.ScheduledProcedureStepSequence = empty
        asked.SpecificCharacterSet = "ISO_IR 192"
        _, [answer] = modality.find(asked)
        [step] = answer.ScheduledProcedureStepSequence
        assert step.ScheduledProcedureStepDescription == "胸部平扫"
        assert step.ScheduledProcedureStepStatus == "SCHEDULED"
        assert step.ScheduledPerformingPhysicianName == "Li^Na=李^娜"


def test_every_attribute_of_the_worklist_table_can_be_asked_for(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry())
    asked, step = Dataset(), Dataset()
    for target, names in ((asked, OUTER), (step, INNER)):
        for name in names:
            setattr(target, name, [] if name.endswith("Sequence") else None)
    asked.ScheduledProcedureStepSequence = [step]
    statuses, [answer] = modality.find(asked)
    assert statuses == [0xFF00, 0x0000]
    assert [name for name in OUTER if name not in answer] == []
    assert [name for name in INNER if name not in answer.ScheduledProcedureStepSequence[0]] == []
    assert (float(answer.PatientWeight), list(answer.Allergies)) == (70.5, ["PENICILLIN", "青霉素"])


@pytest.mark.parametrize("character_set", ["GB18030", "GBK", "ISO_IR 192"])
def test_an_answer_is_in_the_character_set_of_its_question(modality: Modality, character_set: str) -> None:
    modality.workflow.worklist.put(an_entry())
    _, [answer] = modality.find(identifier(SpecificCharacterSet=character_set, PatientName="*=王*"))
    assert (answer.SpecificCharacterSet, answer.PatientName) == (character_set, "Wang^XiaoDong=王^小东")
    _, nothing = modality.find(identifier(SpecificCharacterSet=character_set, PatientName="李*"))
    assert nothing == []


def test_an_answer_in_ascii_names_no_character_set(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry(patient__name={"alphabetic": "Li^Na"}))
    _, [answer] = modality.find(identifier(SpecificCharacterSet="GB18030"))
    assert "SpecificCharacterSet" not in answer


@pytest.mark.parametrize(
    ("keys", "fits"),
    [
        ({"PatientName": "wang*"}, True), ({"PatientID": "P1"}, True), ({"PatientID": "P2"}, False),
        ({"AccessionNumber": "A1"}, True), ({"step__ScheduledStationAETitle": "CT2"}, True),
        ({"step__ScheduledStationAETitle": "CT3"}, False), ({"step__Modality": "CT"}, True),
        ({"step__Modality": "MR"}, False), ({"step__ScheduledProcedureStepStartDate": "20250301"}, True),
        ({"step__ScheduledProcedureStepStartDate": "20250301-20250302"}, True),
        ({"step__ScheduledProcedureStepStartDate": "20250302-"}, False),
        ({"step__ScheduledProcedureStepStartTime": "1000-1100"}, True),
        ({"step__ScheduledProcedureStepStartTime": "11-"}, False),
        ({"StudyInstanceUID": "1.2.3"}, True), ({"RequestedProcedureID": "RP2"}, False),
        # Outside the step, Modality is no key of the worklist.
        ({"Modality": "MR"}, True),
    ],
)  # fmt: skip
def test_keys_are_matched(modality: Modality, keys: dict[str, str], fits: bool) -> None:
    modality.workflow.worklist.put(an_entry())
    _, found = modality.find(identifier(**keys))
    assert bool(found) is fits


def test_a_key_that_is_not_supported_is_told_by_the_status(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry())
    assert modality.find(identifier(InstitutionName=""))[0] == [0xFF01, 0x0000]
    assert modality.find(identifier(PatientSex="F"))[0] == [0xFF01, 0x0000]
    assert modality.find(identifier(step__PreMedication="x"))[0] == [0xFF01, 0x0000]


def test_another_institutions_entries_are_not_shown(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry(institution="zhidan"))
    assert modality.find(identifier()) == ([0x0000], [])


def test_a_query_ends_when_it_is_cancelled(modality: Modality, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def entries(_: object) -> Iterator[Entry]:
        # Without end, and no faster than they are sent: those that pile up take minutes to be read.
        while not ended.wait(0.01):
            yield an_entry()

    monkeypatch.setattr(modality.workflow.worklist, "find", entries)
    association = modality.associate()
    statuses = []
    for status, _ in association.send_c_find(identifier(), FIND, msg_id=7):
        if not statuses:
            association.send_c_cancel(7, query_model=FIND)
        statuses.append(status.Status)
    association.release()
    ended.set()
    assert statuses[-1] == 0xFE00
    assert set(statuses[:-1]) == {0xFF00}


@pytest.mark.parametrize(
    "keys",
    [{"step__ScheduledProcedureStepStartDate": "2025"}, {"step__ScheduledProcedureStepStartTime": "noon"},
     {"SpecificCharacterSet": "KLINGON"}],
)  # fmt: skip
def test_a_value_that_is_no_key_is_refused_with_a_reason(modality: Modality, keys: dict[str, str]) -> None:
    association = modality.associate()
    [(status, _)] = list(association.send_c_find(identifier(**keys), FIND))
    association.release()
    assert status.Status == 0xA900
    assert status.ErrorComment
    assert modality.refusals == [0xA900]


def test_two_steps_in_one_question_are_refused(modality: Modality) -> None:
    asked = identifier()
    asked.ScheduledProcedureStepSequence = [Dataset(), Dataset()]
    assert modality.find(asked)[0] == [0xA900]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x40\x00\x00\x01SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000,
     b"\x10\x00\x10\x00PN\x02\x00A" + b"B" * (70 << 10)],
    ids=["nothing", "nested", "too large"],
)  # fmt: skip
def test_an_identifier_that_is_none_is_refused_and_the_next_is_answered(
    modality: Modality, content: bytes
) -> None:
    association = modality.associate()
    request = C_FIND()
    request.MessageID, request.AffectedSOPClassUID, request.Priority = 1, FIND, 0
    request.Identifier = BytesIO(content)
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == FIND)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    if content:
        assert response is not None
        assert response.Status >= 0xA900
    association.abort()
    assert modality.find(identifier())[0] == [0x0000]


def test_a_worklist_that_cannot_be_read_is_refused_for_later(
    modality: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise IndexUnavailable("The index database does not answer.")

    monkeypatch.setattr(modality.workflow.worklist, "find", away)
    assert modality.find(identifier())[0] == [0xA700]
    assert modality.refusals == [0xA700]


def test_a_step_is_begun_and_ended_and_its_entry_follows(modality: Modality) -> None:
    modality.workflow.worklist.put(an_entry())
    association = modality.associate()
    status, _ = association.send_n_create(begun(), MPPS, STEP)
    assert status.Status == 0x0000
    assert modality.state() is EntryState.STARTED
    status, _ = association.send_n_set(ended(), MPPS, STEP)
    assert status.Status == 0x0000
    assert modality.state() is EntryState.COMPLETED
    kept = modality.workflow.steps.get("yanan", STEP)
    assert kept is not None
    assert kept.attributes["00100010"]["Value"] == [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]
    status, _ = association.send_n_set(ended("DISCONTINUED"), MPPS, STEP)
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    assert status.ErrorComment == "Performed Procedure Step Object may no longer be updated"
    association.release()
    assert modality.refusals == [0x0110]
    assert modality.state() is EntryState.COMPLETED


def test_who_gives_no_uid_is_told_the_one_we_made(modality: Modality) -> None:
    association = modality.associate()
    status, _ = association.send_n_create(begun(), MPPS, None)
    assert status.Status == 0x0000
    association.release()
    [step] = modality.workflow.steps.find(StepQuery(None))
    assert step.sop_instance_uid.startswith("2.25.")


@pytest.mark.parametrize(
    ("changes", "uid", "expected"),
    [
        ({"PerformedProcedureStepStatus": "COMPLETED"}, STEP, 0x0106), ({"Modality": None}, STEP, 0x0120),
        ({"Modality": ""}, STEP, 0x0121), ({"ScheduledStepAttributesSequence": []}, STEP, 0x0121),
        ({}, "1.2..3", 0x0117),
    ],
)  # fmt: skip
def test_what_cannot_begin_has_the_status_of_its_reason(
    modality: Modality, changes: dict[str, Any], uid: str, expected: int
) -> None:
    association = modality.associate()
    status, _ = association.send_n_create(begun(**changes), MPPS, uid)
    assert status.Status == expected
    association.release()
    assert modality.refusals == [expected]


def test_a_step_is_created_once_and_none_is_set_before(modality: Modality) -> None:
    association = modality.associate()
    assert association.send_n_set(ended(), MPPS, STEP)[0].Status == 0x0112
    assert association.send_n_create(begun(), MPPS, STEP)[0].Status == 0x0000
    assert association.send_n_create(begun(), MPPS, STEP)[0].Status == 0x0111
    assert association.send_n_set(ended(PerformedSeriesSequence=[]), MPPS, STEP)[0].Status == 0x0121
    status, _ = association.send_n_set(ended(PatientID="P9"), MPPS, STEP)
    assert status.Status == 0x0107
    association.release()


def test_an_attribute_list_that_is_none_is_refused(modality: Modality) -> None:
    association = modality.associate()
    broken = begun()
    broken.PatientWeight = "70"
    assert association.send_n_create(broken, MPPS, STEP)[0].Status == 0x0000
    context = next(c for c in association.accepted_contexts if c.abstract_syntax == MPPS)
    for number, content in enumerate((b"\x08\x00\x60\x00CS\xff\xff", b"\xff" * 64)):
        request = N_CREATE()
        request.MessageID, request.AffectedSOPClassUID = number + 9, MPPS
        request.AffectedSOPInstanceUID, request.AttributeList = f"{STEP}.{number}", BytesIO(content)
        association._reactor_checkpoint.clear()
        association.dimse.send_msg(request, context.context_id)
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert response is not None
        assert response.Status in (0x0110, 0x0120)
    association.release()
