"""Storage commitment on associations: requests taken and refused, reports over the same one and a new one."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, Association, evt
from pynetdicom.dimse_primitives import N_ACTION

from services.archive.adapters.memory_workflow import MemoryCommitments
from services.archive.dimse.commitment import SOP_CLASS, SOP_INSTANCE, CommitmentProvider
from services.archive.dimse.destination import Destination
from services.archive.errors import IndexUnavailable
from services.archive.workflow.commitment import CommitmentRequest, CommitmentState, Outcome, Reference
from services.common.clock import SystemClock
from services.common.requestor import associate
from tests.services.archive.dimse.test_server import Running, running
from tests.waiting import wait_for

CT = "1.2.840.10008.5.1.4.1.1.2"
TRANSACTION = "1.2.9"
Reports = queue.Queue[tuple[int, Dataset]]


def action(*uids: str, transaction: str = TRANSACTION) -> Dataset:
    """An N-ACTION's action information."""
    made = Dataset()
    made.TransactionUID = transaction
    items = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        items.append(item)
    made.ReferencedSOPSequence = items
    return made


def taking(reports: Reports, status: int = 0x0000) -> list[Any]:
    """Handlers of a device that takes reports."""

    def take(event: evt.Event) -> tuple[int, None]:
        reports.put((event.request.EventTypeID, event.event_information))
        return status, None

    return [(evt.EVT_N_EVENT_REPORT, take)]


class Service:
    """A listener with the service, and its provider."""

    def __init__(self, started: Running, provider: CommitmentProvider, kept: MemoryCommitments) -> None:
        self.provider, self.kept, self._started = provider, kept, started
        self.refusals: list[int] = []

    def associate(self, handlers: list[Any] | None = None) -> Association:
        ae = AE("CT1")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
        ae.add_requested_context(SOP_CLASS, ExplicitVRLittleEndian)
        association = associate(
            ae, "127.0.0.1", self._started.server.port, ae_title="PACS", evt_handlers=handlers or []
        )
        assert association.is_established
        return association

    def state(self, transaction: str = TRANSACTION) -> CommitmentState | None:
        return self.kept.state("yanan", "CT1", transaction)


@contextmanager
def serving(directory: Path, *destinations: Destination) -> Iterator[Service]:
    kept, refusals = MemoryCommitments(), list[int]()
    provider = CommitmentProvider(
        kept, institution="yanan", site="yanchang", ae_title="PACS", holder="h", clock=SystemClock(),
        refused=refusals.append, destinations=destinations,
    )  # fmt: skip
    with running(directory, provider.service_class()) as started:
        service = Service(started, provider, kept)
        service.refusals = refusals
        yield service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as made:
        yield made


def asked(*uids: str) -> CommitmentRequest:
    references = tuple(Reference(CT, uid) for uid in uids)
    return CommitmentRequest("yanan", "yanchang", "CT1", TRANSACTION, references, SystemClock().now())


MIXED = Outcome((Reference(CT, "1.1"),), ((Reference(CT, "1.2"), 0x0112),))
ALL = Outcome((Reference(CT, "1.1"),), ())


def test_a_request_is_kept_before_it_is_answered(service: Service) -> None:
    association = service.associate()
    status, _ = association.send_n_action(action("1.1", "1.2", "1.1"), 1, SOP_CLASS, SOP_INSTANCE)
    assert status.Status == 0x0000
    assert service.state() is CommitmentState.WAITING
    association.release()


def test_the_report_goes_over_the_association_that_is_still_there(service: Service) -> None:
    reports: Reports = queue.Queue()
    association = service.associate(taking(reports))
    association.send_n_action(action("1.1", "1.2"), 1, SOP_CLASS, SOP_INSTANCE)
    assert service.provider.report(asked("1.1", "1.2"), MIXED)
    kind, event = reports.get(timeout=10)
    assert (kind, event.TransactionUID, event.RetrieveAETitle) == (2, TRANSACTION, "PACS")
    assert [item.ReferencedSOPInstanceUID for item in event.ReferencedSOPSequence] == ["1.1"]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in event.FailedSOPSequence] == [
        ("1.2", 0x0112)
    ]
    association.release()


def test_a_requester_that_is_gone_and_listens_nowhere_is_not_told(service: Service) -> None:
    association = service.associate()
    association.send_n_action(action("1.1"), 1, SOP_CLASS, SOP_INSTANCE)
    association.release()
    wait_for(lambda: not association.is_alive(), 10, "the association's end")
    assert not service.provider.report(asked("1.1"), ALL)


@contextmanager
def listening(reports: Reports, status: int = 0x0000) -> Iterator[int]:
    """A device that listens for reports; its port."""
    ae = AE("CT1")
    ae.add_supported_context(SOP_CLASS, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=taking(reports, status))
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def test_the_report_goes_to_the_destination_of_a_requester_that_is_gone(tmp_path: Path) -> None:
    reports: Reports = queue.Queue()
    with listening(reports) as port, serving(tmp_path, Destination("CT1", "127.0.0.1", port)) as service:
        association = service.associate()
        association.send_n_action(action("1.1"), 1, SOP_CLASS, SOP_INSTANCE)
        association.release()
        wait_for(lambda: not association.is_alive(), 10, "the association's end")
        assert service.provider.report(asked("1.1"), ALL)
        kind, event = reports.get(timeout=10)
        assert kind == 1
        assert "FailedSOPSequence" not in event


def test_a_destination_that_refuses_or_is_away_was_not_told(tmp_path: Path) -> None:
    reports: Reports = queue.Queue()
    with (
        listening(reports, status=0x0110) as port,
        serving(tmp_path / "a", Destination("CT1", "127.0.0.1", port)) as service,
    ):
        assert not service.provider.report(asked("1.1"), ALL)
    with serving(tmp_path / "b", Destination("CT1", "127.0.0.1", port)) as service:
        assert not service.provider.report(asked("1.1"), ALL)


def sent(association: Association, change: Callable[[N_ACTION], None]) -> int:
    """The status of a request that is put together by hand."""
    message = N_ACTION()
    message.MessageID, message.RequestedSOPClassUID = 7, SOP_CLASS
    message.RequestedSOPInstanceUID, message.ActionTypeID = SOP_INSTANCE, 1
    change(message)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(message, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert answer is not None
    return int(answer.Status)


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        (action(), 0x0115), (action("1.1", transaction=""), 0x0115), (action("1.1", transaction="x"), 0x0115),
        (action("../1"), 0x0115), (action(""), 0x0115),
    ],
)  # fmt: skip
def test_a_request_that_names_nothing_is_refused(
    service: Service, information: Dataset, expected: int
) -> None:
    association = service.associate()
    status, _ = association.send_n_action(information, 1, SOP_CLASS, SOP_INSTANCE)
    assert status.Status == expected
    assert status.ErrorComment
    association.release()
    assert service.refusals == [expected]
    assert service.state() is None


def test_another_instance_or_action_is_refused(service: Service) -> None:
    association = service.associate()
    assert association.send_n_action(action("1.1"), 2, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0123
    assert association.send_n_action(action("1.1"), 1, SOP_CLASS, "1.2.3")[0].Status == 0x0112
    association.release()


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x00\x99\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000]
)
def test_action_information_that_is_none_is_refused(service: Service, content: bytes) -> None:
    association = service.associate()

    def put(message: N_ACTION) -> None:
        message.ActionInformation = BytesIO(content) if content else None

    assert sent(association, put) == 0x0115
    association.release()


def test_more_references_than_are_taken_in_one_request_are_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.archive.dimse.commitment.MOST_REFERENCES", 2)
    association = service.associate()
    status, _ = association.send_n_action(action("1.1", "1.2", "1.3"), 1, SOP_CLASS, SOP_INSTANCE)
    assert status.Status == 0x0213
    association.release()


def test_a_transaction_may_be_asked_again_and_not_used_for_others(service: Service) -> None:
    association = service.associate()
    assert association.send_n_action(action("1.1"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0000
    assert association.send_n_action(action("1.1"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0000
    assert association.send_n_action(action("1.2"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0115
    association.release()


def test_a_request_that_cannot_be_kept_is_not_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise IndexUnavailable("The index database does not answer.")

    monkeypatch.setattr(service.kept, "accept", away)
    association = service.associate()
    assert association.send_n_action(action("1.1"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0110
    association.release()
