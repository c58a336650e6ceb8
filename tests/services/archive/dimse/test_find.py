"""Rules of C-FIND (PS3.4 C.4.1): asked by pynetdicom over a real connection, answered from the memory index."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.dimse.caller import Caller, Rights, rights_of
from services.archive.dimse.find import Find
from services.archive.dimse.get import Get
from services.archive.dimse.information_model import PATIENT_ROOT, STUDY_ROOT
from services.archive.dimse.move import Move
from services.archive.dimse.outgoing import Source
from services.archive.dimse.query_retrieve import query_retrieve
from services.archive.dimse.request import Request
from services.archive.dimse.transcoder import NativeTranscoder
from services.archive.errors import IndexUnavailable
from services.archive.index.query import Query
from services.archive.index.records import Match
from services.common.requestor import associate
from tests.services.archive.content import a_pack, a_series, a_study, an_instance
from tests.services.archive.dimse.test_server import CALLERS, Running, running
from tests.waiting import wait_for

RELATIONAL, HIERARCHICAL = b"\1", b"\0"


class Watched:
    """Statuses of finished queries."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def dimse_query(self, status: int, seconds: float) -> None:
        self.statuses.append(status)


@contextmanager
def archive(
    directory: Path,
    index: MemoryIndex,
    *,
    callers: Sequence[Caller] = CALLERS,
    observer: Watched | None = None,
) -> Iterator[Running]:
    def rights(request: Request) -> Rights:
        return rights_of(callers, request.calling_ae, request.address, "yanan")

    source = Source(MemoryStore(), NativeTranscoder())
    service = query_retrieve(
        Find(index, rights, "PACS", observer),
        Get(index, source, rights),
        Move(index, source, rights, destinations=[], ae_title="PACS"),
    )
    with running(directory, service, callers=callers) as started:
        yield started


def filled() -> MemoryIndex:
    """Two studies of one patient, one of another, and one of another institution."""
    index = MemoryIndex()
    index.commit(
        a_pack(
            an_instance("1.2.3.1.1", number=1), an_instance("1.2.3.1.2", number=2), an_instance("1.2.3.2.1", "1.2.3.2"),
            series=(a_series("1.2.3.1"), a_series("1.2.3.2", modality="SR", number=2)),
        ), [],
    )  # fmt: skip
    index.commit(a_pack(an_instance("1.2.4.1"), name="4", study=a_study("1.2.4", study_date="20240101")), [])
    yamada = {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    other = a_study("1.2.5", patient_id="P2", patient_name=yamada, accession_number="A2")
    index.commit(a_pack(an_instance("1.2.5.1"), name="5", study=other), [])
    index.commit(a_pack(an_instance("1.2.6.1"), name="6", institution="zhidan", study=a_study("1.2.6")), [])
    return index


def ask(
    started: Running,
    model: str = STUDY_ROOT.find,
    *,
    negotiated: bytes = b"",
    transfer_syntax: str = ExplicitVRLittleEndian,
    calling: str = "CT1",
    **keys: Any,
) -> tuple[list[Dataset], list[int]]:
    """The identifiers of the matches, and the status of every response."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = keys.pop("level", "STUDY")
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    ae = AE(calling)
    items = []
    if negotiated:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = model, negotiated
        items.append(item)
    ae.add_requested_context(model, transfer_syntax)
    association = associate(ae, "127.0.0.1", started.server.port, ae_title="PACS", ext_neg=items)
    assert association.is_established
    responses = list(association.send_c_find(identifier, model))
    association.release()
    return [found for _, found in responses if found is not None], [status.Status for status, _ in responses]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Running]:
    with archive(tmp_path, filled()) as running_archive:
        yield running_archive


@pytest.mark.parametrize("transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_studies_come_newest_first_with_what_was_asked_for(started: Running, transfer_syntax: str) -> None:
    found, statuses = ask(
        started, transfer_syntax=transfer_syntax, StudyInstanceUID="", PatientID="P1", ModalitiesInStudy="",
        NumberOfStudyRelatedSeries=None, NumberOfStudyRelatedInstances=None,
    )  # fmt: skip
    assert [one.StudyInstanceUID for one in found] == ["1.2.3", "1.2.4"]
    first = found[0]
    assert (first.QueryRetrieveLevel, first.RetrieveAETitle, first.ModalitiesInStudy) == (
        "STUDY",
        "PACS",
        ["CT", "SR"],
    )
    assert (first.NumberOfStudyRelatedSeries, first.NumberOfStudyRelatedInstances) == (2, 3)
    assert "StudyDate" not in first
    assert statuses == [0xFF00, 0xFF00, 0x0000]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, ["1.2.3", "1.2.5", "1.2.4"]), ({"PatientName": "wang*"}, ["1.2.3", "1.2.4"]),
        ({"PatientName": "*"}, ["1.2.3", "1.2.5", "1.2.4"]),
        ({"StudyDate": "20240101-20241231"}, ["1.2.4"]),
        ({"StudyDate": "20250301-", "StudyTime": "1000-1100"}, ["1.2.3", "1.2.5"]),
        ({"StudyInstanceUID": ["1.2.4", "1.2.5"]}, ["1.2.5", "1.2.4"]), ({"AccessionNumber": "A?", "PatientID": "P2"}, ["1.2.5"]),
        ({"ModalitiesInStudy": "SR"}, ["1.2.3"]), ({"ModalitiesInStudy": ["SR", "MR"]}, ["1.2.3"]), ({"PatientID": "p1"}, []),
        ({"PatientName": "山田^太郎", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]}, ["1.2.5"]),
        ({"PatientName": "=王*", "SpecificCharacterSet": "GB18030"}, ["1.2.3", "1.2.4"]),
        ({"StudyInstanceUID": "1.2.6"}, []),
    ],
)  # fmt: skip
def test_studies_match_as_the_standard_says(started: Running, keys: dict[str, Any], found: list[str]) -> None:
    answers, statuses = ask(started, **{"StudyInstanceUID": "", **keys})
    assert ([one.StudyInstanceUID for one in answers], statuses[-1]) == (found, 0x0000)


def test_each_level_of_both_models_answers_in_its_hierarchy(started: Running) -> None:
    patients, _ = ask(started, PATIENT_ROOT.find, level="PATIENT", PatientID="", NumberOfPatientRelatedStudies=None,
                      NumberOfPatientRelatedInstances=None)  # fmt: skip
    assert [(one.PatientID, one.NumberOfPatientRelatedStudies, one.NumberOfPatientRelatedInstances) for one in patients] == [
        ("P1", 2, 4), ("P2", 1, 1),
    ]  # fmt: skip
    studies, _ = ask(started, PATIENT_ROOT.find, PatientID="P2", StudyInstanceUID="")
    assert [one.StudyInstanceUID for one in studies] == ["1.2.5"]
    above = {"PatientID": "P1", "StudyInstanceUID": "1.2.3"}
    series, _ = ask(
        started,
        PATIENT_ROOT.find,
        level="SERIES",
        **above,
        SeriesInstanceUID="",
        Modality="",
        NumberOfSeriesRelatedInstances=None,
    )
    assert [(one.SeriesInstanceUID, one.NumberOfSeriesRelatedInstances) for one in series] == [
        ("1.2.3.1", 2),
        ("1.2.3.2", 1),
    ]
    images, statuses = ask(
        started,
        level="IMAGE",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.1",
        InstanceNumber="2",
        SOPInstanceUID="",
    )
    assert ([one.SOPInstanceUID for one in images], statuses) == (["1.2.3.1.2"], [0xFF00, 0x0000])


@pytest.mark.parametrize(
    ("model", "level", "keys"),
    [
        (STUDY_ROOT.find, "PATIENT", {}), (STUDY_ROOT.find, "", {}), (STUDY_ROOT.find, "PICTURE", {}),
        (STUDY_ROOT.find, "SERIES", {}), (STUDY_ROOT.find, "IMAGE", {"StudyInstanceUID": "1.2.3"}),
        (STUDY_ROOT.find, "SERIES", {"StudyInstanceUID": ["1.2.3", "1.2.4"]}), (PATIENT_ROOT.find, "STUDY", {}),
        (PATIENT_ROOT.find, "STUDY", {"PatientID": "P*"}), (PATIENT_ROOT.find, "SERIES", {"StudyInstanceUID": "1.2.3"}),
    ],
)  # fmt: skip
def test_an_identifier_that_does_not_fit_its_model_is_refused(
    started: Running, model: str, level: str, keys: dict[str, Any]
) -> None:
    assert ask(started, model, level=level, **keys) == ([], [0xA900])
    assert ask(started, model, level=level, negotiated=HIERARCHICAL, **keys) == ([], [0xA900])


def test_relational_queries_are_answered_where_they_were_negotiated(started: Running) -> None:
    found, statuses = ask(
        started, level="IMAGE", negotiated=RELATIONAL, PatientID="P1", Modality="CT", SOPInstanceUID=""
    )
    assert [one.SOPInstanceUID for one in found] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.4.1"]
    assert {(one.StudyInstanceUID, one.SeriesInstanceUID) for one in found} == {
        ("1.2.3", "1.2.3.1"),
        ("1.2.4", "1.2.3.1"),
    }
    assert statuses[-1] == 0x0000


def test_an_optional_key_that_is_not_supported_is_left_out_and_said_so(started: Running) -> None:
    found, statuses = ask(started, PatientID="P2", StudyInstanceUID="", Modality="MR", BodyPartExamined="")
    assert [one.StudyInstanceUID for one in found] == ["1.2.5"]
    assert ("Modality" in found[0], "BodyPartExamined" in found[0]) == (False, False)
    assert statuses == [0xFF01, 0x0000]


@pytest.mark.parametrize("keys", [{"StudyDate": "yesterday"}, {"SpecificCharacterSet": "ISO_IR 999"}])
def test_a_value_that_cannot_be_read_is_refused(started: Running, keys: dict[str, Any]) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for keyword, value in keys.items():
        identifier.add_new(keyword, "LO", value)
    association = started.associate((STUDY_ROOT.find, ImplicitVRLittleEndian))
    [(answer, found)] = list(association.send_c_find(identifier, STUDY_ROOT.find))
    association.release()
    assert (answer.Status, found) == (0xC000, None)
    assert answer.ErrorComment


@pytest.mark.parametrize("asked", ["ISO_IR 192", "GB18030", "GBK", ["", "ISO 2022 IR 58"], None])
def test_chinese_names_go_out_in_the_character_set_of_the_request(tmp_path: Path, asked: Any) -> None:
    index = MemoryIndex()
    study = a_study(patient_name={"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"})
    index.commit(a_pack(an_instance("1.2.3.1.1"), study=study), [])
    with archive(tmp_path, index) as started:
        found, _ = ask(started, PatientName="", **({"SpecificCharacterSet": asked} if asked else {}))
    assert str(found[0].PatientName) == "Wang^XiaoDong=王^小东"
    assert found[0].SpecificCharacterSet == (asked or "ISO_IR 192")


def test_who_may_see_what_is_said_by_its_entry_and_nothing_else_is_found(tmp_path: Path) -> None:
    local = ipaddress.ip_network("127.0.0.0/8")
    callers = [
        Caller("OWN", local), Caller("NOBODY", local, institutions=frozenset()),
        Caller("BOTH", local, institutions=frozenset({"yanan", "zhidan"})),
        Caller("OTHER", local, institutions=frozenset({"zhidan"})),
    ]  # fmt: skip
    with archive(tmp_path, filled(), callers=callers) as started:
        seen = {
            one.ae_title: {
                found.StudyInstanceUID for found in ask(started, calling=one.ae_title, StudyInstanceUID="")[0]
            }
            for one in callers
        }
    own = {"1.2.3", "1.2.4", "1.2.5"}
    assert seen == {"OWN": own, "NOBODY": set(), "BOTH": own | {"1.2.6"}, "OTHER": {"1.2.6"}}


def test_a_cancelled_query_ends_early_and_the_association_goes_on(tmp_path: Path) -> None:
    class Endless(MemoryIndex):
        def each(self, query: Query) -> Iterator[Match]:
            [match] = super().find(Query(query.level, query.institutions, limit=1))
            while True:
                yield match

    index = Endless()
    index.commit(a_pack(an_instance("1.2.3.1.1")), [])
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    with archive(tmp_path, index) as started:
        association = started.associate((STUDY_ROOT.find, ExplicitVRLittleEndian))
        statuses = []
        for status, _ in association.send_c_find(identifier, STUDY_ROOT.find, msg_id=7):
            if not statuses:
                association.send_c_cancel(7, query_model=STUDY_ROOT.find)
            statuses.append(status.Status)
        assert statuses[-1] == 0xFE00
        assert set(statuses[:-1]) == {0xFF00}
        association.release()
        assert association.is_released


def test_a_requester_that_goes_away_ends_its_query_alone(tmp_path: Path) -> None:
    index, watch = filled(), Watched()
    real, ended = index.each, []

    def each(query: Query) -> Iterator[Match]:
        try:
            while True:
                yield from real(query)
        finally:
            ended.append(query)

    index.each = each  # type: ignore[method-assign]
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    with archive(tmp_path, index, observer=watch) as started:
        association = started.associate((STUDY_ROOT.find, ExplicitVRLittleEndian))
        next(association.send_c_find(identifier, STUDY_ROOT.find))
        association.abort()
        wait_for(lambda: ended != [], 20, "the query ends with its requester")
        index.each = real  # type: ignore[method-assign]
        assert ask(started, StudyInstanceUID="")[1][-1] == 0x0000


def test_an_index_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    class Away(MemoryIndex):
        def each(self, query: Query) -> Iterator[Match]:
            raise IndexUnavailable(
                "The index database does not answer.", action="Send the same request again."
            )

    watch = Watched()
    with archive(tmp_path, Away(), observer=watch) as started:
        assert ask(started) == ([], [0xA700])
    assert watch.statuses == [0xA700]


def test_names_stay_out_of_the_log(started: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        ask(started, PatientName="Wang*", PatientID="P1", StudyInstanceUID="")
    ours = [record for record in caplog.records if record.name.startswith("services")]
    assert any("C-FIND" in record.getMessage() and record.count == 2 for record in ours)  # type: ignore[attr-defined]
    assert not any("Wang" in record.getMessage() or "P1" in record.getMessage() for record in ours)
