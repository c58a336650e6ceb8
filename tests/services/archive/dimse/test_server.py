"""Rules of `services.archive.dimse.server`: who may associate, what is kept, what hostile peers cost."""

from __future__ import annotations

import io
import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, Association, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from services.archive.dimse.caller import Caller, address_of, is_known
from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.request import Request
from services.archive.dimse.server import VERIFICATION, DimseListener, DimseServer
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.storage import Storage
from services.common.requestor import associate
from services.packs.arrival import HELD_BYTES
from services.packs.instance import scan
from services.packs.segment import Record, SegmentLog
from tests.services.packs.synthetic import CT, STUDY, ct, data_set
from tests.waiting import wait_for

PRIVATE_STORAGE = "1.2.826.0.1.3680043.10.1338.999.1"
WAIT = 10.0
CALLERS = [Caller("CT1", ipaddress.ip_network("127.0.0.0/8"))]


class Watch:
    """Everything that the listener reports, with a way to wait for it."""

    def __init__(self) -> None:
        self.refusals: list[str] = []
        self.accepted: list[str] = []
        self.ended: list[str] = []
        self._change = threading.Condition()

    def association_accepted(self, calling_ae: str) -> None:
        self._note(self.accepted, calling_ae)

    def association_ended(self) -> None:
        pass

    def association_refused(self, reason: str) -> None:
        self._note(self.refusals, reason)

    def on_end(self, association: str) -> None:
        self._note(self.ended, association)

    def wait_for(self, condition: Callable[[], bool], seconds: float = WAIT) -> bool:
        with self._change:
            return self._change.wait_for(condition, seconds)

    def _note(self, target: list[str], value: str) -> None:
        with self._change:
            target.append(value)
            self._change.notify_all()


class Running:
    """A started listener over a real segment log."""

    def __init__(self, server: DimseServer, log: SegmentLog, records: list[Record], watch: Watch) -> None:
        self.server, self.log, self.records, self.watch = server, log, records, watch

    def associate(
        self, *contexts: tuple[str, str], calling: str = "CT1", called: str = "PACS", own: AE | None = None
    ) -> Association:
        ae = own or AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = WAIT
        for abstract, transfer in contexts or ((VERIFICATION, ImplicitVRLittleEndian),):
            ae.add_requested_context(abstract, transfer)
        return associate(ae, "127.0.0.1", self.server.port, ae_title=called)


@contextmanager
def running(directory: Path, *services: ServiceClass, **listener: Any) -> Iterator[Running]:
    watch, records = Watch(), []  # type: tuple[Watch, list[Record]]
    with SegmentLog(directory / "log", headroom_bytes=0) as log:
        log.subscribe(records.append)
        server = DimseServer(
            DimseListener("PACS", host="127.0.0.1", port=0, **{"callers": CALLERS, **listener}),
            Storage(log, institution="yanan", site="yanchang"),
            ended=watch.on_end,
            observer=watch,
            services=services,
        )
        server.start()
        try:
            yield Running(server, log, records, watch)
        finally:
            server.stop()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as started:
        yield started


def encoded(transfer_syntax: str, uid: str, sop_class: str = CT) -> Dataset:
    made = data_set(uid, SOPClassUID=sop_class)
    made.PixelData = (
        b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd"
        if _compressed(transfer_syntax)
        else bytes(48)
    )
    made["PixelData"].is_undefined_length = _compressed(transfer_syntax)
    made.file_meta = Dataset()
    made.file_meta.TransferSyntaxUID = transfer_syntax
    return made


def _compressed(transfer_syntax: str) -> bool:
    return transfer_syntax not in (
        ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    )  # fmt: skip


def test_an_echo_is_answered(listener: Running) -> None:
    association = listener.associate()
    assert association.send_c_echo().Status == 0x0000
    association.release()


@pytest.mark.parametrize(
    "transfer_syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
     RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless,
     "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107"],
)  # fmt: skip
def test_every_transfer_syntax_is_stored_as_it_came(listener: Running, transfer_syntax: str) -> None:
    association = listener.associate((CT, transfer_syntax))
    assert association.send_c_store(encoded(transfer_syntax, STUDY + ".1.7")).Status == 0x0000
    association.release()
    found = scan(listener.log.read(listener.records[0]))
    assert (found.transfer_syntax, found.sop_instance_uid) == (transfer_syntax, STUDY + ".1.7")


def test_the_data_set_is_kept_byte_for_byte(listener: Running) -> None:
    data = ct(STUDY + ".1.8")
    path = Path(str(listener.log._directory)).parent / "slice.dcm"
    path.write_bytes(data)
    association = listener.associate((CT, ExplicitVRLittleEndian))
    assert association.send_c_store(path).Status == 0x0000
    association.release()
    body = listener.log.read(listener.records[0])
    assert scan(body).digest == scan(data).digest


def test_private_storage_classes_are_accepted(listener: Running) -> None:
    association = listener.associate((PRIVATE_STORAGE, ExplicitVRLittleEndian))
    made = encoded(ExplicitVRLittleEndian, "1.2.3", PRIVATE_STORAGE)
    assert association.send_c_store(made).Status == 0x0000
    association.release()
    assert listener.records[0].header.sop_class_uid == PRIVATE_STORAGE


def test_a_further_service_class_is_negotiated_and_answers_its_own_requests(tmp_path: Path) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    find = ServiceClass(
        [StudyRootQueryRetrieveInformationModelFind],
        {evt.EVT_C_FIND: lambda event: iter([(0xFF00, event.identifier), (0x0000, None)])},
    )
    with running(tmp_path, find) as started:
        association = started.associate((StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian))
        answers = list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
        association.release()
    assert [(status.Status, found) for status, found in answers] == [(0xFF00, identifier), (0x0000, None)]


def test_an_association_outlives_an_answer_that_took_longer_than_it_may_rest(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        wait_for(request.association.dul.idle_timer_expired, WAIT, "the peer was silent for its whole time")
        request.respond(0x0000)

    find = ServiceClass([StudyRootQueryRetrieveInformationModelFind], requests={C_FIND: answer})
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    with running(tmp_path, find, limits=ConnectionLimits(association_idle_seconds=2.0)) as started:
        association = started.associate((StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian))
        for _ in range(2):
            [(status, _)] = list(
                association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
            )
            assert status.Status == 0x0000
        association.release()
        assert association.is_released


def test_without_it_its_abstract_syntax_is_refused(listener: Running) -> None:
    asked = (StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian)
    association = listener.associate(asked, (VERIFICATION, ImplicitVRLittleEndian))
    assert [context.abstract_syntax for context in association.rejected_contexts] == [asked[0]]
    association.release()


def test_a_wrong_called_ae_title_is_rejected_with_that_reason(
    listener: Running, caplog: pytest.LogCaptureFixture
) -> None:
    association = listener.associate(called="ELSEWHERE")
    assert association.is_rejected
    # PS3.8 9.3.4: rejected-permanent, service-user, called-AE-title-not-recognized.
    answer = association.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)
    assert listener.watch.wait_for(lambda: listener.watch.refusals == ["called_ae"])
    # The answer has no room for words: they are in the log, for whoever is called to the device.
    assert (
        "association of 'CT1' at 127.0.0.1 rejected: it called 'ELSEWHERE', this is 'PACS'; "
        "correct the called AE title at the device"
    ) in caplog.text


def test_a_calling_ae_that_is_not_on_the_list_is_rejected_with_that_reason(tmp_path: Path) -> None:
    with running(tmp_path) as started:
        assert started.associate(calling="CT1").is_established
        association = started.associate(calling="STRANGER")
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == 3
        assert started.watch.wait_for(lambda: started.watch.refusals == ["calling_ae"])


def test_a_listed_ae_that_calls_from_another_devices_network_is_rejected_with_that_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = Caller("MR1", ipaddress.ip_network("192.0.2.0/24"))
    with running(tmp_path, callers=[*CALLERS, elsewhere]) as started:
        association = started.associate(calling="MR1")
        assert association.is_rejected
        # PS3.8 9.3.4: rejected-permanent, service-user, calling-AE-title-not-recognized.
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
        assert started.watch.wait_for(lambda: started.watch.refusals == ["calling_ae"])
        assert "no device of this AE title is known in the network it calls from" in caplog.text
        assert started.associate(calling="CT1").is_established
        assert started.watch.accepted == ["CT1"]


def test_an_address_outside_every_callers_network_is_closed(tmp_path: Path) -> None:
    with running(tmp_path, callers=[Caller("CT1", ipaddress.ip_network("192.0.2.0/24"))]) as started:
        assert not started.associate().is_established
        assert started.watch.wait_for(lambda: started.watch.refusals == ["address"])


def test_without_a_list_of_callers_nobody_is_let_in(tmp_path: Path) -> None:
    with running(tmp_path, callers=[]) as started:
        assert not started.associate().is_established
        assert started.watch.wait_for(lambda: started.watch.refusals == ["address"])


@pytest.mark.parametrize(
    ("ae_title", "address", "known"),
    [
        ("CT1", "10.0.1.9", True),
        ("CT1", "::ffff:10.0.1.9", True),
        ("CT1", "10.0.2.9", False),
        ("MR1", "10.0.2.9", True),
        ("MR1", "10.0.1.9", False),
        ("ct1", "10.0.1.9", False),
        ("", "10.0.1.9", False),
    ],
)
def test_title_and_network_of_a_caller_belong_together(ae_title: str, address: str, known: bool) -> None:
    callers = [
        Caller("CT1", ipaddress.ip_network("10.0.1.0/24")),
        Caller("MR1", ipaddress.ip_network("10.0.2.0/24")),
    ]
    assert is_known(callers, ae_title, address_of(address)) is known


def test_more_associations_than_allowed_are_rejected_for_now(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(associations=1)) as started:
        first = started.associate()
        second = started.associate()
        assert (first.is_established, second.is_rejected) == (True, True)
        assert second.acceptor.primitive.result == 2  # rejected-transient: try again
        first.release()


def test_one_address_gets_no_more_than_its_share(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(per_peer=1)) as started:
        assert started.associate().is_established
        assert not started.associate().is_established
        assert "per_peer" in started.watch.refusals


def test_the_end_of_an_association_is_told_once_with_its_id(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    association.send_c_store(encoded(ExplicitVRLittleEndian, "1.2.3"))
    association.release()
    watch = listener.watch
    assert watch.wait_for(lambda: watch.ended == [listener.records[0].header.association])
    aborted = listener.associate()
    aborted.abort()
    assert watch.wait_for(lambda: len(watch.ended) == 2)


def test_a_refusal_carries_its_reason_to_the_sender(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    made = encoded(ExplicitVRLittleEndian, "1.2.3")
    del made.StudyInstanceUID
    answer = association.send_c_store(made)
    assert answer.Status == 0xC000
    assert "Study Instance UID" in answer.ErrorComment
    association.release()


def test_a_uid_with_a_path_in_it_is_refused(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    made = encoded(ExplicitVRLittleEndian, "1.2.3")
    made["SOPInstanceUID"]._value = "../../../etc/passwd"
    answer = association.send_c_store(made)
    assert answer.Status == 0x0117
    assert answer.ErrorComment == "Correct it: Affected SOP Instance UID is no UID (1-64 digits ..."
    association.release()
    assert listener.records == []


@pytest.mark.parametrize(
    "opening",
    [
        struct.pack(">BBL", 1, 0, 0xFFFF_FFFF),
        struct.pack(">BBL", 4, 0, 0xFFFF_FFFF) + bytes(100),
        struct.pack(">BBL", 9, 0, 4) + bytes(4),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
    ],
)
def test_hostile_openings_are_cut_off_and_meanwhile_an_echo_works(tmp_path: Path, opening: bytes) -> None:
    with (
        running(tmp_path, limits=ConnectionLimits(idle_seconds=0.5)) as started,
        socket.create_connection(("127.0.0.1", started.server.port), timeout=WAIT) as hostile,
    ):
        hostile.sendall(opening)
        association = started.associate()
        assert association.send_c_echo().Status == 0x0000
        association.release()
        # At most some A-ABORTs, then the end: never waited for, never collected.
        with suppress(ConnectionResetError):
            while answer := hostile.recv(1024):
                assert answer.startswith(b"\x07")


def test_fragments_without_a_last_one_end_at_the_message_limit(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(max_message=200_000)) as started:
        association = started.associate((CT, ExplicitVRLittleEndian))
        wire = association.dul.socket.socket
        fragment = struct.pack(">LBB", 50_002, 1, 0) + bytes(50_000)
        for _ in range(6):
            try:
                wire.sendall(struct.pack(">BBL", 4, 0, len(fragment)) + fragment)
            except OSError:
                break
        assert started.watch.wait_for(lambda: len(started.watch.ended) == 1)
        assert started.associate().is_established


def test_a_message_without_a_data_set_is_refused_with_a_reason(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, "1.2.3"
    # As pynetdicom's own send_c_store does, which insists on a data set: its reactor must not take the answer.
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, 1)
    _, answer = association.dimse.get_msg(block=True)
    assert (answer.Status, answer.ErrorComment) == (
        0xC000, "Complete it: the data set has no SOP Class UID (0008,0016)",
    )  # fmt: skip
    association._reactor_checkpoint.set()
    association.release()
    assert listener.records == []


def test_an_association_aborted_in_the_middle_of_a_message_leaves_nothing_of_it(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    assert association.send_c_store(encoded(ExplicitVRLittleEndian, "1.2.3")).Status == 0x0000
    fragment = struct.pack(">LBB", 52, 1, 0) + bytes(50)
    association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, len(fragment)) + fragment)
    association.abort()
    assert listener.watch.wait_for(lambda: len(listener.watch.ended) == 1)
    assert [record.header.sop_instance_uid for record in listener.records] == ["1.2.3"]


def test_a_fault_of_ours_is_a_failure_that_quotes_nothing(
    listener: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("fault")

    monkeypatch.setattr(listener.server._storage, "keep", fail)
    association = listener.associate((CT, ExplicitVRLittleEndian))
    answer = association.send_c_store(encoded(ExplicitVRLittleEndian, "1.2.3"))
    assert (answer.Status, answer.ErrorComment) == (
        0x0110,
        "Not stored: a fault of the archive. Send it later",
    )
    association.release()
    assert {record.name for record in caplog.records if record.exc_info} == {"services.archive.dimse.server"}
    assert listener.watch.refusals == ["fault"]


def test_a_modality_may_rest_between_two_messages_longer_than_within_one(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(idle_seconds=0.2)) as started:
        association = started.associate((CT, ExplicitVRLittleEndian), (VERIFICATION, ImplicitVRLittleEndian))
        assert not started.watch.wait_for(lambda: started.watch.ended != [], seconds=1.0)
        assert association.send_c_echo().Status == 0x0000
        association.release()


def test_an_association_at_rest_ends_at_its_limit(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(association_idle_seconds=0.3)) as started:
        assert started.associate().is_established
        assert started.watch.wait_for(lambda: len(started.watch.ended) == 1)


def test_a_data_set_longer_than_what_is_held_in_memory_is_kept_byte_for_byte(listener: Running) -> None:
    made = encoded(ExplicitVRLittleEndian, "1.2.3")
    made.PixelData = bytes(range(256)) * (3 * HELD_BYTES // 256)
    association = listener.associate((CT, ExplicitVRLittleEndian))
    assert association.send_c_store(made).Status == 0x0000
    assert association.send_c_store(encoded(ExplicitVRLittleEndian, "1.2.4")).Status == 0x0000
    association.release()
    long, short = listener.records
    body = listener.log.read(long)
    found = scan(body)
    assert (found.digest, found.sop_instance_uid) == (long.header.digest, "1.2.3")
    assert body[found.pixel_offset : found.pixel_offset + found.pixel_length] == made.PixelData
    assert scan(listener.log.read(short)).sop_instance_uid == "1.2.4"


def test_a_long_data_set_that_is_refused_or_broken_off_leaves_nothing_on_the_disk(
    listener: Running, tmp_path: Path
) -> None:
    made = encoded(ExplicitVRLittleEndian, "1.2.3")
    made.PixelData = bytes(3 * HELD_BYTES)
    del made.StudyInstanceUID
    association = listener.associate((CT, ExplicitVRLittleEndian))
    assert association.send_c_store(made).Status == 0xC000
    broken_off = command(1, CT, "1.2.4") + [data_fragment(1, bytes(200_000)) for _ in range(12)]
    association.dul.socket.socket.sendall(b"".join(broken_off))
    wait_for(lambda: list(tmp_path.glob("log/*.part")), WAIT, "the second one is on the disk")
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    assert listener.watch.wait_for(lambda: len(listener.watch.ended) == 1)
    wait_for(lambda: not list(tmp_path.glob("log/*.part")), WAIT, "it is gone from the disk")
    assert listener.log.live_records == 0


def test_fragments_of_any_size_and_in_any_grouping_are_one_instance(listener: Running) -> None:
    data = ct(STUDY + ".1.9")
    body = data[scan(data).data_offset :]
    association = listener.associate((CT, ExplicitVRLittleEndian), (VERIFICATION, ImplicitVRLittleEndian))
    wire = association.dul.socket.socket
    association._reactor_checkpoint.clear()
    store = command_pdvs(7, CT, STUDY + ".1.9")
    # Command and data in one PDU, an empty fragment, and a write to the network for each byte of some.
    first = p_data(*store, pdv(1, 0, body[:5]), pdv(1, 0, b""), pdv(1, 0, body[5:6]))
    for byte in first:
        wire.sendall(bytes([byte]))
    wire.sendall(p_data(pdv(1, 0, body[6:100])) + p_data(pdv(1, 2, body[100:])))
    _, answer = association.dimse.get_msg(block=True)
    assert (answer.Status, answer.MessageIDBeingRespondedTo) == (0x0000, 7)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (CT, STUDY + ".1.9")
    association._reactor_checkpoint.set()
    assert association.send_c_echo().Status == 0x0000
    association.release()
    assert listener.log.read(listener.records[0])[scan(data).data_offset - 4 :]
    assert listener.records[0].header.digest == scan(data).digest


def test_a_store_in_a_context_that_was_not_accepted_ends_the_association(listener: Running) -> None:
    association = listener.associate((CT, ExplicitVRLittleEndian))
    sent = [*command(99, CT, "1.2.3"), p_data(pdv(99, 2, b"data"))]
    association.dul.socket.socket.sendall(b"".join(sent))
    assert listener.watch.wait_for(lambda: len(listener.watch.ended) == 1)
    assert listener.records == []


@pytest.mark.parametrize(
    "broken",
    [
        struct.pack(">BBI", 4, 0, 3) + b"abc",
        struct.pack(">BBI", 4, 0, 10) + struct.pack(">IBB", 100, 1, 0) + bytes(4),
        struct.pack(">BBI", 4, 0, 10) + struct.pack(">IBB", 1, 1, 0) + bytes(4),
        struct.pack(">BBI", 4, 0, 0xFFFF_FFFF),
        struct.pack(">BBI", 9, 0, 4) + bytes(4),
        struct.pack(">BBI", 1, 0, 4) + bytes(4),
        struct.pack(">BBI", 5, 0, 1 << 20),
        struct.pack(">BBI", 4, 0, 10) + struct.pack(">IBB", 6, 1, 2) + bytes(4),
        struct.pack(">BBI", 4, 0, 10) + struct.pack(">IBB", 6, 1, 3) + b"\xff" * 4,
    ],
)
def test_what_breaks_the_protocol_ends_its_association_and_no_other(listener: Running, broken: bytes) -> None:
    other = listener.associate()
    association = listener.associate((CT, ExplicitVRLittleEndian))
    association.dul.socket.socket.sendall(broken)
    assert listener.watch.wait_for(lambda: len(listener.watch.ended) == 1)
    assert other.send_c_echo().Status == 0x0000
    other.release()


def test_silence_within_a_message_ends_the_association(tmp_path: Path) -> None:
    with running(tmp_path, limits=ConnectionLimits(idle_seconds=0.3)) as started:
        association = started.associate((CT, ExplicitVRLittleEndian))
        association.dul.socket.socket.sendall(b"".join(command(1, CT, "1.2.3")) + data_fragment(1, bytes(50)))
        assert started.watch.wait_for(lambda: len(started.watch.ended) == 1)


def test_messages_that_go_through_memory_are_bounded_one_by_one(tmp_path: Path) -> None:
    find = ServiceClass(
        [StudyRootQueryRetrieveInformationModelFind], {evt.EVT_C_FIND: lambda _: iter([(0x0000, None)])}
    )
    with running(tmp_path, find, limits=ConnectionLimits(max_other_message=100_000)) as started:
        association = started.associate((StudyRootQueryRetrieveInformationModelFind, ExplicitVRLittleEndian))
        identifier = Dataset()
        identifier.PatientComments = "x" * 200_000
        list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
        assert started.watch.wait_for(lambda: len(started.watch.ended) == 1)
        wait_for(lambda: started.server.room.held == 0, WAIT, "its memory is free again")


def pdv(context_id: int, control: int, content: bytes) -> bytes:
    return struct.pack(">IBB", len(content) + 2, context_id, control) + content


def p_data(*values: bytes) -> bytes:
    return struct.pack(">BxI", 4, sum(map(len, values))) + b"".join(values)


def data_fragment(context_id: int, content: bytes) -> bytes:
    return p_data(pdv(context_id, 0, content))


def command_pdvs(message_id: int, sop_class: str, uid: str, context_id: int = 1) -> list[bytes]:
    """A C-STORE-RQ as pynetdicom encodes it, in presentation data values."""
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, uid
    request.DataSet = io.BytesIO(b"data")
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    values = [one for p in message.encode_msg(context_id, 0) for one in p.presentation_data_value_list]
    return [pdv(context_id, value[0], value[1:]) for context_id, value in values if value[0] & 1]


def command(context_id: int, sop_class: str, uid: str) -> list[bytes]:
    return [p_data(*command_pdvs(1, sop_class, uid, context_id))]


def test_a_taken_port_is_an_error_at_start(listener: Running, tmp_path: Path) -> None:
    second = DimseServer(
        DimseListener("PACS", host="127.0.0.1", port=listener.server.port),
        Storage(listener.log, institution="a", site="b"),
        ended=lambda _: None,
    )
    port = listener.server.port
    with pytest.raises(
        OSError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use. Find what"
    ):
        second.start()
