"""Rules of storage commitment: what is judged how, when it is final, and that every requester is told."""

import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.adapters.memory_workflow import MemoryCommitments
from services.archive.errors import IndexUnavailable
from services.archive.workflow.commitment import (
    GRACE,
    LONGEST,
    PATIENCE,
    CommitmentRequest,
    CommitmentState,
    Holding,
    Outcome,
    Reference,
    judged,
    pause_after,
)
from services.archive.workflow.reporting import CommitmentReporter
from tests.services.archive.content import a_pack, an_instance

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


class Turned:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOON).total_seconds()


class Device:
    """Who asked, and whether it can be told."""

    def __init__(self) -> None:
        self.there, self.told = True, list[Outcome]()

    def report(self, request: CommitmentRequest, outcome: Outcome) -> bool:
        if self.there:
            self.told.append(outcome)
        return self.there


class Centre:
    """An archive with one reporter."""

    def __init__(self) -> None:
        self.index, self.store, self.commitments = MemoryIndex(), MemoryStore(), MemoryCommitments()
        self.clock, self.device, self.arriving = Turned(), Device(), False
        self.counted: list[str] = []
        self.reporter = self.reporter_of("dc1")

    def reporter_of(self, holder: str) -> CommitmentReporter:
        return CommitmentReporter(
            self.commitments, self.index, self.store, self.device, institution="yanan", holder=holder,
            arriving=lambda: self.arriving, clock=self.clock, counted=self.counted.append,
        )  # fmt: skip

    def ask(self, *uids: str, sop_class: str = CT, transaction: str = "1.2.9") -> CommitmentRequest:
        request = CommitmentRequest(
            "yanan", "centre", "CT1", transaction, tuple(Reference(sop_class, uid) for uid in uids), self.clock.now()
        )  # fmt: skip
        self.commitments.accept(request, "dc1")
        return request

    def keep(self, uid: str, length: int = 2000) -> None:
        content = a_pack(an_instance(uid), name=uid)
        self.index.commit(content, [])
        body = bytes(length)
        self.store.put(content.pack.object_key, io.BytesIO(body), length, hashlib.sha256(body).hexdigest())

    def pass_by(self, time: timedelta) -> None:
        self.clock.time += time

    def state(self, transaction: str = "1.2.9") -> CommitmentState | None:
        return self.commitments.state("yanan", "CT1", transaction)


@pytest.fixture
def centre() -> Centre:
    return Centre()


def uids(references: Sequence[Reference]) -> list[str]:
    return [reference.sop_instance_uid for reference in references]


def test_what_is_in_store_and_index_is_committed(centre: Centre) -> None:
    centre.keep("1.2.3.1.1")
    centre.ask("1.2.3.1.1")
    assert centre.reporter.report_next()
    [outcome] = centre.device.told
    assert (uids(outcome.committed), outcome.failed) == (["1.2.3.1.1"], ())
    assert centre.state() is CommitmentState.REPORTED
    assert not centre.reporter.report_next(), "it is told once"


def test_each_failure_has_its_reason(centre: Centre) -> None:
    centre.keep("1.2.3.1.1")
    centre.keep("1.2.3.1.2", length=500)
    wrong = CommitmentRequest(
        "yanan", "centre", "CT1", "1.2.9",
        (Reference(MR, "1.2.3.1.1"), Reference(CT, "1.2.3.1.2"), Reference(CT, "1.2.3.1.3")), NOON,
    )  # fmt: skip
    centre.commitments.accept(wrong, "dc1")
    centre.pass_by(GRACE)
    assert centre.reporter.report_next()
    [outcome] = centre.device.told
    assert [(one.sop_instance_uid[-1], reason) for one, reason in outcome.failed] == [
        ("1", 0x0119), ("2", 0x0110), ("3", 0x0112),
    ]  # fmt: skip


def test_another_institutions_instance_is_no_instance(centre: Centre) -> None:
    content = a_pack(an_instance("1.2.3.1.1"), institution="zhidan")
    centre.index.commit(content, [])
    centre.ask("1.2.3.1.1")
    centre.pass_by(GRACE)
    centre.reporter.report_next()
    assert centre.device.told[0].failed[0][1] == 0x0112


def test_what_was_just_sent_is_waited_for(centre: Centre) -> None:
    centre.arriving = True
    centre.ask("1.2.3.1.1")
    for _ in range(20):
        assert centre.reporter.report_next()
        centre.pass_by(timedelta(seconds=1))
    assert centre.device.told == []
    centre.keep("1.2.3.1.1")
    centre.reporter.report_next()
    assert uids(centre.device.told[0].committed) == ["1.2.3.1.1"]


def test_an_archive_that_always_receives_does_not_keep_a_device_waiting_for_ever(centre: Centre) -> None:
    centre.arriving = True
    centre.ask("1.2.3.1.1")
    centre.pass_by(PATIENCE)
    centre.reporter.report_next()
    assert centre.device.told[0].missing


def test_a_device_that_is_away_is_tried_again_ever_more_rarely_and_given_up_at_last(centre: Centre) -> None:
    centre.keep("1.2.3.1.1")
    centre.ask("1.2.3.1.1")
    centre.device.there = False
    pauses = []
    while centre.state() is CommitmentState.WAITING:
        before = centre.clock.now()
        while not centre.reporter.report_next():
            centre.pass_by(
                timedelta(seconds=1) if centre.clock.now() - before < GRACE else timedelta(minutes=5)
            )
        pauses.append(centre.clock.now() - before)
    assert centre.state() is CommitmentState.ABANDONED
    assert pauses[1] < pauses[-1]
    assert centre.clock.now() - NOON >= LONGEST
    assert set(centre.counted) == {"failed", "abandoned"}


def test_pauses_double_up_to_an_hour() -> None:
    assert [pause_after(n).total_seconds() for n in (0, 1, 2, 11, 12, 10**6)] == [2, 4, 8, 3600, 3600, 3600]


def test_a_new_process_of_the_same_name_goes_on_at_once_and_another_replica_when_the_lease_is_over(
    centre: Centre,
) -> None:
    centre.keep("1.2.3.1.1")
    centre.ask("1.2.3.1.1")
    assert not centre.reporter_of("dc2").report_next()
    assert centre.reporter_of("dc1").report_next()
    centre.ask("1.2.3.1.1", transaction="1.2.10")
    centre.pass_by(timedelta(minutes=2))
    assert centre.reporter_of("dc2").report_next()
    assert centre.state("1.2.10") is CommitmentState.REPORTED


def test_while_the_index_is_away_nothing_is_answered_and_nothing_is_forgotten(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.keep("1.2.3.1.1")
    centre.ask("1.2.3.1.1")

    def away(*_: object) -> None:
        raise IndexUnavailable("The index database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(centre.index, "holdings", away)
        with pytest.raises(IndexUnavailable):
            centre.reporter.report_next()
    assert centre.device.told == []
    centre.pass_by(timedelta(seconds=2))
    assert centre.reporter.report_next()
    assert centre.state() is CommitmentState.REPORTED


def test_an_object_is_asked_for_once_however_many_instances_lie_in_it() -> None:
    asked: list[str] = []

    def size(key: str) -> int:
        asked.append(key)
        return 1000

    held = {f"1.{n}": Holding(f"1.{n}", CT, "packs/a", n * 100) for n in range(1, 9)}
    outcome = judged([Reference(CT, uid) for uid in held], held, size)
    assert len(outcome.committed) == 8
    assert asked == ["packs/a"]
