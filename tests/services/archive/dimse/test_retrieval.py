"""Rules of C-GET and C-MOVE (PS3.4 C.4.2, C.4.3), with pynetdicom as requester and as destination."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import AE, build_role, evt

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.dimse import retrieval
from services.archive.dimse.caller import Caller, Rights, rights_of
from services.archive.dimse.destination import Destination
from services.archive.dimse.find import Find
from services.archive.dimse.get import Get
from services.archive.dimse.information_model import PATIENT_ROOT, STUDY_ROOT
from services.archive.dimse.move import Move
from services.archive.dimse.outgoing import Source
from services.archive.dimse.query_retrieve import query_retrieve
from services.archive.dimse.request import Request
from services.archive.dimse.transcoder import NativeTranscoder
from services.common.requestor import associate
from services.packs.instance import scan
from tests.services.archive.content import a_pack, a_series, a_study, an_instance
from tests.services.archive.dimse.test_server import Running, running
from tests.services.archive.samples import CT, synthetic
from tests.waiting import wait_for

LOCAL = ipaddress.ip_network("127.0.0.0/8")
CALLER = Caller("CT1", LOCAL, moves_to=frozenset({"WS1", "GONE"}))


class Kept:
    """An index and a store with these files, and what of them was read."""

    def __init__(self) -> None:
        self.index, self.store = MemoryIndex(), MemoryStore()
        self.files: dict[str, bytes] = {}

    def keep(self, *files: bytes, institution: str = "yanan", patient: str = "P1") -> None:
        """As one pack of one study."""
        content = b"".join(files)
        entries, offset = [], 0
        for number, file in enumerate(files, 1):
            found = scan(file)
            self.files[found.sop_instance_uid] = file
            entries.append(
                an_instance(
                    found.sop_instance_uid,
                    found.series_uid,
                    number=number,
                    offset=offset,
                    length=len(file),
                    data_offset=found.data_offset,
                    transfer_syntax=found.transfer_syntax,
                    sop_class_uid=found.sop_class_uid,
                )
            )
            offset += len(file)
        series = tuple(a_series(uid) for uid in sorted({one.series_uid for one in entries}))
        study = a_study(scan(files[0]).study_uid, patient_id=patient)
        pack = a_pack(*entries, name=study.study_uid, institution=institution, study=study, series=series)
        self.store.put(pack.pack.object_key, BytesIO(content), len(content), sha256(content).hexdigest())
        self.index.commit(pack, [])

    def data_set(self, uid: str) -> bytes:
        file = self.files[uid]
        return file[scan(file).data_offset :]


def filled() -> Kept:
    kept = Kept()
    kept.keep(
        synthetic("1.2.3.1.1", series="1.2.3.1"), synthetic("1.2.3.1.2", series="1.2.3.1", pixels=b"\1\2" * 4000),
        synthetic("1.2.3.2.1", series="1.2.3.2"),
    )  # fmt: skip
    kept.keep(synthetic("1.2.4.1", study="1.2.4", series="1.2.4.9"))
    kept.keep(synthetic("1.2.5.1", study="1.2.5", series="1.2.5.9"), patient="P2")
    kept.keep(synthetic("1.2.6.1", study="1.2.6", series="1.2.6.9"), institution="zhidan")
    return kept


class Watched:
    def __init__(self) -> None:
        self.done: list[tuple[str, int, int, int]] = []

    def dimse_retrieved(self, operation: str, status: int, sent: int, failed: int) -> None:
        self.done.append((operation, status, sent, failed))


@contextmanager
def archive(
    directory: Path,
    kept: Kept,
    *destinations: Destination,
    callers: Sequence[Caller] = (CALLER,),
    observer: Watched | None = None,
) -> Iterator[Running]:
    def rights(request: Request) -> Rights:
        return rights_of(callers, request.calling_ae, request.address, "yanan")

    source = Source(kept.store, NativeTranscoder())
    service = query_retrieve(
        Find(kept.index, rights, "PACS"),
        Get(kept.index, source, rights, observer),
        Move(kept.index, source, rights, destinations=destinations, ae_title="PACS", observer=observer),
    )
    with running(directory, service, callers=callers) as started:
        yield started


class Station:
    """A storage SCP: keeps the encoded data sets that come, by SOP Instance UID."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 0x0000) -> None:
        self.received: dict[str, bytes] = {}
        self.originators: list[tuple[str, int]] = []
        self._answer = answer

    def take(self, event: evt.Event) -> int:
        request: Any = event.request
        self.received[str(request.AffectedSOPInstanceUID)] = request.DataSet.getvalue()
        self.originators.append(
            (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID)
        )
        return self._answer(len(self.received))

    @contextmanager
    def listening(self, *transfer_syntaxes: str, max_pdu: int = 16382) -> Iterator[Destination]:
        ae = AE("WS1")
        ae.maximum_pdu_size = max_pdu
        ae.add_supported_context(CT, list(transfer_syntaxes or [ExplicitVRLittleEndian]))
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self.take)])
        try:
            yield Destination("WS1", "127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()


def identifier(level: str, **keys: Any) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def get(
    started: Running,
    asked: Dataset,
    *transfer_syntaxes: str,
    model: str = STUDY_ROOT.get,
    station: Station | None = None,
    role: bool = True,
) -> tuple[Station, Dataset, Dataset | None]:
    """What came, and the last response with its identifier."""
    station = station or Station()
    ae = AE("CT1")
    ae.add_requested_context(model, ExplicitVRLittleEndian)
    for transfer_syntax in transfer_syntaxes or (ExplicitVRLittleEndian,):
        ae.add_requested_context(CT, transfer_syntax)
    roles = [build_role(CT, scp_role=True)] if role else []
    association = associate(
        ae, "127.0.0.1", started.server.port, ae_title="PACS", ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, station.take)]
    )  # fmt: skip
    assert association.is_established
    responses = list(association.send_c_get(asked, model))
    association.release()
    return station, *responses[-1]


def move(
    started: Running, asked: Dataset, *, to: str = "WS1", model: str = STUDY_ROOT.move
) -> list[tuple[Dataset, Dataset | None]]:
    association = started.associate((model, ExplicitVRLittleEndian))
    responses = list(association.send_c_move(asked, to, model, msg_id=9))
    association.release()
    return responses


def counters(status: Dataset) -> tuple[int, int, int]:
    return (
        status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations,
        status.NumberOfWarningSuboperations,
    )  # fmt: skip


def test_a_study_comes_over_its_own_association_byte_for_byte_as_it_was_stored(tmp_path: Path) -> None:
    kept, watch = filled(), Watched()
    with archive(tmp_path, kept, observer=watch) as started:
        station, status, failed = get(started, identifier("STUDY", StudyInstanceUID="1.2.3"))
    assert (status.Status, counters(status), failed) == (0x0000, (3, 0, 0), None)
    assert station.received == {uid: kept.data_set(uid) for uid in ("1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1")}
    assert watch.done == [("get", 0x0000, 3, 0)]


@pytest.mark.parametrize(
    ("model", "level", "keys", "uids"),
    [
        (PATIENT_ROOT.get, "PATIENT", {"PatientID": "P1"}, {"1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1", "1.2.4.1"}),
        (PATIENT_ROOT.get, "STUDY", {"PatientID": "P1", "StudyInstanceUID": "1.2.4"}, {"1.2.4.1"}),
        (PATIENT_ROOT.get, "STUDY", {"PatientID": "P2", "StudyInstanceUID": "1.2.4"}, set()),
        (STUDY_ROOT.get, "STUDY", {"StudyInstanceUID": ["1.2.4", "1.2.5"]}, {"1.2.4.1", "1.2.5.1"}),
        (STUDY_ROOT.get, "SERIES", {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1"}, {"1.2.3.1.1", "1.2.3.1.2"}),
        (STUDY_ROOT.get, "IMAGE",
         {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.1", "SOPInstanceUID": ["1.2.3.1.2", "1.9"]}, {"1.2.3.1.2"}),
        (STUDY_ROOT.get, "STUDY", {"StudyInstanceUID": "1.2.6"}, set()),
        (STUDY_ROOT.get, "STUDY", {"StudyInstanceUID": "9.9"}, set()),
    ],
)  # fmt: skip
def test_each_level_of_both_models_is_retrieved(
    tmp_path: Path, model: str, level: str, keys: dict[str, Any], uids: set[str]
) -> None:
    with archive(tmp_path, filled()) as started:
        station, status, _ = get(started, identifier(level, **keys), model=model)
    assert (set(station.received), status.Status, counters(status)) == (uids, 0x0000, (len(uids), 0, 0))


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("STUDY", {}), ("STUDY", {"StudyInstanceUID": "*"}), ("SERIES", {"SeriesInstanceUID": "1.2.3.1"}),
        ("PATIENT", {"PatientID": "P1"}),
        ("SERIES", {"StudyInstanceUID": "1.2.3"}), ("", {"StudyInstanceUID": "1.2.3"}),
    ],
)  # fmt: skip
def test_what_does_not_name_its_entities_is_refused(tmp_path: Path, level: str, keys: dict[str, str]) -> None:
    with archive(tmp_path, filled()) as started:
        station, status, _ = get(started, identifier(level, **keys))
        assert (status.Status, station.received) == (0xA900, {})
        assert status.ErrorComment


@pytest.mark.parametrize(
    "stored", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("taken", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed_instances_are_written_anew_for_a_peer_that_takes_another_syntax(
    tmp_path: Path, stored: str, taken: str
) -> None:
    kept = Kept()
    kept.keep(synthetic("1.2.3.1", transfer_syntax=stored))
    with archive(tmp_path, kept) as started:
        station, status, _ = get(started, identifier("STUDY", StudyInstanceUID="1.2.3"), taken)
    assert (status.Status, counters(status)) == (0x0000, (1, 0, 0))
    original = dcmread(BytesIO(kept.files["1.2.3.1"]))
    received = station.received["1.2.3.1"]
    assert read_dataset(BytesIO(received), taken == ImplicitVRLittleEndian, True) == original


def test_what_the_peer_cannot_take_fails_alone_and_the_answer_says_which_and_why(tmp_path: Path) -> None:
    kept = Kept()
    kept.keep(synthetic("1.2.3.1"), _compressed("1.2.3.2"))
    with archive(tmp_path, kept) as started:
        station, status, failed = get(started, identifier("STUDY", StudyInstanceUID="1.2.3"))
        assert (status.Status, counters(status), set(station.received)) == (0xB000, (1, 1, 0), {"1.2.3.1"})
        assert failed is not None
        assert failed.FailedSOPInstanceUIDList == "1.2.3.2"
        assert status.ErrorComment == "1 not sent: no context with JPEG 2000 Image Compression (Loss..."
        station, status, _ = get(
            started, identifier("STUDY", StudyInstanceUID="1.2.3"), ExplicitVRLittleEndian, JPEG2000Lossless
        )
        assert (status.Status, set(station.received)) == (0x0000, {"1.2.3.1", "1.2.3.2"})


def _compressed(uid: str) -> bytes:
    data_set = dcmread(BytesIO(synthetic(uid)))
    data_set.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data_set.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd"
    data_set["PixelData"].is_undefined_length = True
    data_set["PixelData"].VR = "OB"
    target = BytesIO()
    data_set.save_as(target)
    return target.getvalue()


def test_nothing_is_sent_to_a_requester_that_did_not_offer_to_receive(tmp_path: Path) -> None:
    with archive(tmp_path, filled()) as started:
        station, status, failed = get(started, identifier("STUDY", StudyInstanceUID="1.2.4"), role=False)
    assert (station.received, status.Status, counters(status)) == ({}, 0xA702, (0, 1, 0))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == "1.2.4.1"


def test_failures_and_warnings_of_the_receiver_are_counted_apart(tmp_path: Path) -> None:
    statuses = {1: 0xA700, 2: 0xB007, 3: 0x0000}
    with archive(tmp_path, filled()) as started:
        _, status, failed = get(
            started, identifier("STUDY", StudyInstanceUID="1.2.3"), station=Station(statuses.__getitem__)
        )
    assert (status.Status, counters(status)) == (0xB000, (1, 1, 1))
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == "1.2.3.1.1"
    assert status.ErrorComment == "1 not sent: the receiver answered 0xA700"


@pytest.mark.parametrize("max_pdu", [128, 4096, 16382, 0])
def test_a_move_brings_a_study_to_its_destination_byte_for_byte(tmp_path: Path, max_pdu: int) -> None:
    kept, station, watch = filled(), Station(), Watched()
    with (
        station.listening(max_pdu=max_pdu) as destination,
        archive(tmp_path, kept, destination, observer=watch) as started,
    ):
        [(status, failed)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.3"))
    assert (status.Status, counters(status), failed) == (0x0000, (3, 0, 0), None)
    assert station.received == {uid: kept.data_set(uid) for uid in ("1.2.3.1.1", "1.2.3.1.2", "1.2.3.2.1")}
    assert set(station.originators) == {("CT1", 9)}
    assert watch.done == [("move", 0x0000, 3, 0)]


def test_a_patient_is_moved_with_all_studies_over_one_association(tmp_path: Path) -> None:
    kept, station = filled(), Station()
    with station.listening() as destination, archive(tmp_path, kept, destination) as started:
        [(status, _)] = move(started, identifier("PATIENT", PatientID="P1"), model=PATIENT_ROOT.move)
    assert (status.Status, counters(status), len(station.received)) == (0x0000, (4, 0, 0), 4)


@pytest.mark.parametrize(("to", "status"), [("NOWHERE", 0xA801), ("WS2", 0x0124)])
def test_instances_go_to_declared_destinations_of_the_caller_alone(
    tmp_path: Path, to: str, status: int
) -> None:
    station = Station()
    with station.listening() as destination:
        other = Destination("WS2", destination.host, destination.port)
        with archive(tmp_path, filled(), destination, other) as started:
            [(answer, _)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.3"), to=to)
    assert (answer.Status, station.received) == (status, {})
    assert "stack file" in answer.ErrorComment


def test_what_a_caller_may_not_see_it_cannot_have_sent_anywhere(tmp_path: Path) -> None:
    kept, station = filled(), Station()
    blind = Caller("CT1", LOCAL, institutions=frozenset(), moves_to=frozenset({"WS1"}))
    with station.listening() as destination, archive(tmp_path, kept, destination, callers=[blind]) as started:
        for study in ("1.2.3", "1.2.6"):
            [(status, _)] = move(started, identifier("STUDY", StudyInstanceUID=study))
            assert (status.Status, counters(status)) == (0x0000, (0, 0, 0))
    assert station.received == {}


def test_a_destination_that_is_not_there_fails_every_instance_and_says_so(tmp_path: Path) -> None:
    with archive(tmp_path, filled(), Destination("GONE", "127.0.0.1", 1)) as started:
        [(status, failed)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.3"), to="GONE")
    assert (status.Status, counters(status)) == (0xA702, (0, 3, 0))
    assert status.ErrorComment == "3 not sent: GONE cannot be reached"
    assert failed is not None
    assert len(failed.FailedSOPInstanceUIDList) == 3


def test_a_destination_that_goes_in_the_middle_fails_the_rest(tmp_path: Path) -> None:
    station = Station()

    def leave(event: evt.Event) -> int:
        station.received[str(event.request.AffectedSOPInstanceUID)] = b""  # type: ignore[union-attr]
        if len(station.received) == 2:
            event.assoc.abort()
        return 0x0000

    station.take = leave  # type: ignore[method-assign]
    with station.listening() as destination, archive(tmp_path, filled(), destination) as started:
        [(status, failed)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.3"))
    assert (status.Status, counters(status)) == (0xB000, (1, 2, 0))
    assert failed is not None
    assert list(failed.FailedSOPInstanceUIDList) == ["1.2.3.1.2", "1.2.3.2.1"]


def test_a_destination_that_rejects_the_association_is_told_apart(tmp_path: Path) -> None:
    with running(tmp_path / "other", callers=[CALLER]) as other:
        destination = Destination("WS1", "127.0.0.1", other.server.port)
        with archive(tmp_path / "archive", filled(), destination) as started:
            [(status, _)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.4"))
    assert (status.Status, counters(status)) == (0xA702, (0, 1, 0))
    assert "WS1 rejected the association" in status.ErrorComment


def test_progress_is_reported_while_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_PENDING_SECONDS", 0.0)
    station = Station()
    with station.listening() as destination, archive(tmp_path, filled(), destination) as started:
        responses = move(started, identifier("STUDY", StudyInstanceUID="1.2.3"))
    assert [status.Status for status, _ in responses] == [0xFF00, 0xFF00, 0xFF00, 0x0000]
    assert [(s.NumberOfRemainingSuboperations, *counters(s)) for s, _ in responses[:-1]] == [
        (2, 1, 0, 0), (1, 2, 0, 0), (0, 3, 0, 0),
    ]  # fmt: skip
    assert "NumberOfRemainingSuboperations" not in responses[-1][0]


def test_a_cancelled_move_stops_and_counts_what_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "_PENDING_SECONDS", 0.0)
    kept, station = Kept(), Station()
    kept.keep(*(synthetic(f"1.2.3.{number}") for number in range(1, 400)))
    with station.listening() as destination, archive(tmp_path, kept, destination) as started:
        association = started.associate((STUDY_ROOT.move, ExplicitVRLittleEndian))
        statuses = []
        asked = identifier("STUDY", StudyInstanceUID="1.2.3")
        for status, _ in association.send_c_move(asked, "WS1", STUDY_ROOT.move, msg_id=9):
            if not statuses:
                association.send_c_cancel(9, query_model=STUDY_ROOT.move)
            statuses.append(status)
        last = statuses[-1]
        assert last.Status == 0xFE00
        assert last.NumberOfRemainingSuboperations + last.NumberOfCompletedSuboperations == 399
        assert 0 < last.NumberOfCompletedSuboperations < 399
        association.release()


def test_a_requester_that_goes_away_ends_its_retrieval(tmp_path: Path) -> None:
    kept, station = filled(), Station()
    with station.listening() as destination, archive(tmp_path, kept, destination) as started:
        association = started.associate(
            (STUDY_ROOT.get, ExplicitVRLittleEndian), (CT, ExplicitVRLittleEndian)
        )
        association.abort()
        wait_for(lambda: started.watch.ended != [], 20, "the association ends")
        [(status, _)] = move(started, identifier("STUDY", StudyInstanceUID="1.2.4"))
        assert status.Status == 0x0000
