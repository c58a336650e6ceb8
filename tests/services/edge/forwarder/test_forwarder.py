"""The loop: what starts, what waits, and what a failure of one pack means for the others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.edge.adapters.receipt_judge import PinnedReceiptJudge
from services.edge.errors import ForwardingError, LineDown
from services.edge.forwarder.delivery import Delivery
from services.edge.forwarder.forwarder import Forwarder
from services.edge.forwarder.line import Line
from services.edge.forwarder.outbox import Outbox
from services.edge.forwarder.patience import Patience
from services.edge.metrics import EdgeMetrics
from services.edge.receipt_store import ReceiptStore
from tests.services.edge.branch import HandClock, MemoryCentre, ReceiptOffice, offer, seal


class Later(Executor):
    """Runs what was submitted when told to, in this thread."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], Any]] = []

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.tasks.append(lambda: task(*arguments, **named))
        return Future()

    def run(self) -> int:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task()
        return len(tasks)


class Branch:
    """A forwarder whose steps a test takes one by one."""

    def __init__(self, root: Path, office: ReceiptOffice, clock: HandClock) -> None:
        self.root, self.clock = root, clock
        self.outbox = Outbox(root, clock)
        receipts = ReceiptStore(root / "receipts")
        self.centre = MemoryCentre(office)
        self.registry = CollectorRegistry()
        metrics = EdgeMetrics(self.registry)
        judge = PinnedReceiptJudge(
            office.root_file,
            office.certificates,
            region="local",
            clock=clock,
            known_epoch=lambda: receipts.epoch,
        )
        patience = Patience(first=1, longest=8)
        self.line = Line(clock, patience, lambda: 0.999999, connections=2)
        self.changed: list[str] = []
        self.forwarder = Forwarder(
            self.outbox,
            Delivery(self.outbox, receipts, self.centre, judge, metrics, clock),
            self.line,
            clock=clock,
            metrics=metrics,
            patience=patience,
            random=lambda: 0.999999,
            probe_seconds=30,
            on_change=self.changed.append,
        )
        self.pool = Later()

    def offer(self) -> str:
        return offer(self.root, seal(self.root)).stem

    def step(self) -> float:
        return self.forwarder.step(self.pool, lambda: None)

    def settle(self, rounds: int = 10) -> None:
        for _ in range(rounds):
            self.step()
            self.pool.run()
        self.step()

    def waiting(self) -> set[str]:
        return {entry.pack_id for entry in self.outbox.waiting()}


@pytest.fixture
def branch(tmp_path: Path, office: ReceiptOffice, clock: HandClock) -> Branch:
    branch = Branch(tmp_path, office, clock)
    branch.line.succeeded()  # no probe in the way
    return branch


def test_everything_offered_is_delivered(branch: Branch) -> None:
    packs = {branch.offer() for _ in range(5)}
    branch.settle()
    assert set(branch.centre.packs) == packs
    assert branch.waiting() == set()
    assert set(branch.changed) == packs


def test_no_more_packs_are_under_way_than_connections(branch: Branch) -> None:
    for _ in range(5):
        branch.offer()
    branch.step()
    branch.step()
    assert len(branch.pool.tasks) == 2


def test_after_the_line_fails_one_pack_tries_at_a_time_and_then_all_go(branch: Branch) -> None:
    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    packs = {branch.offer() for _ in range(4)}
    branch.centre.before = cut
    branch.step()
    assert branch.pool.run() == 2
    branch.step()
    assert branch.pool.tasks == []  # the line waits
    branch.clock.turn(2)
    branch.step()
    assert len(branch.pool.tasks) == 1
    branch.centre.before = lambda _: None
    branch.pool.run()
    branch.clock.turn(10)
    branch.settle()
    assert set(branch.centre.packs) == packs
    assert branch.waiting() == set()


def test_a_pack_whose_answer_was_lost_is_asked_for_next_time(branch: Branch) -> None:
    def cut(_: str) -> None:
        raise LineDown("answer lost", reason="network")

    pack = branch.offer()
    branch.centre.after = cut
    branch.step()
    branch.pool.run()
    branch.step()
    branch.clock.turn(5)
    branch.settle()
    assert branch.centre.puts == [pack]
    assert branch.centre.asked == [pack]
    assert branch.waiting() == set()


def test_what_lay_in_the_outbox_at_start_is_asked_for_first(branch: Branch) -> None:
    pack = branch.offer()
    branch.forwarder.recover()
    branch.settle()
    assert branch.centre.asked == [pack]


def test_one_pack_that_the_centre_chokes_on_does_not_stop_the_others(branch: Branch) -> None:
    poison = branch.offer()

    def choke(pack_id: str) -> None:
        if pack_id == poison:
            error = ForwardingError("the centre answered 500")
            error.reason = "http_500"
            raise error

    branch.centre.before = choke
    others = {branch.offer() for _ in range(3)}
    branch.settle()
    assert set(branch.centre.packs) == others
    assert branch.waiting() == {poison}
    assert branch.line.reachable


def test_an_unexpected_error_keeps_the_pack_and_the_loop_alive(branch: Branch) -> None:
    def fall(_: str) -> None:
        raise OSError(28, "No space left on device")

    pack = branch.offer()
    branch.centre.after = fall
    branch.step()
    branch.pool.run()
    branch.step()
    assert branch.waiting() == {pack}
    assert branch.registry.get_sample_value("pacs_edge_failed_attempts_total", {"reason": "OSError"}) == 1


def test_an_idle_line_is_tried_with_a_real_exchange(branch: Branch) -> None:
    assert branch.step() <= 30
    branch.clock.turn(31)
    branch.step()
    branch.pool.run()
    assert branch.centre.asked == ["0" * 64]
    assert branch.line.reachable


def test_a_failing_probe_says_that_the_centre_is_away_and_the_next_one_that_it_is_back(
    branch: Branch,
) -> None:
    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    branch.centre.before = cut
    branch.clock.turn(31)
    branch.step()
    branch.pool.run()
    branch.step()
    assert not branch.line.reachable
    branch.centre.before = lambda _: None
    branch.clock.turn(31)
    branch.settle()
    assert branch.line.reachable


def test_the_loop_sleeps_until_something_is_due_and_no_longer(branch: Branch) -> None:
    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    branch.offer()
    branch.centre.before = cut
    branch.step()
    branch.pool.run()
    assert 0 < branch.step() <= 1


def test_a_pack_that_appears_while_the_line_waits_goes_as_soon_as_the_line_may_try(branch: Branch) -> None:
    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    branch.centre.before = cut
    branch.clock.turn(31)
    branch.step()
    branch.pool.run()  # the probe fails
    pack = branch.offer()
    seconds = branch.step()
    assert 0 < seconds <= 1
    branch.centre.before = lambda _: None
    branch.clock.turn(seconds)
    branch.settle()
    assert pack in branch.centre.packs


def test_while_the_only_try_is_under_way_the_loop_sleeps_though_others_are_due(branch: Branch) -> None:
    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    branch.centre.before = cut
    for _ in range(3):
        branch.offer()
    for _ in range(3):  # fail each of them once
        branch.step()
        branch.pool.run()
        branch.step()
        branch.clock.turn(10)
    assert branch.step() > 10
    assert len(branch.pool.tasks) == 1


def test_the_queue_gauges_follow_the_outbox(branch: Branch) -> None:
    branch.offer()
    branch.step()
    assert branch.registry.get_sample_value("pacs_edge_queue_packs") == 1
    branch.pool.run()
    branch.step()
    assert branch.registry.get_sample_value("pacs_edge_queue_packs") == 0
