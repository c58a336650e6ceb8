from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import runner
from bench.errors import CannotError, ServerError
from bench.peers import Peers
from bench.results import CPU, Aim, RowResult
from bench.rows.row import Row, Sample, Stage
from bench.runner import CLIENT_CPU, RowRunner
from bench.subjects.subject import DimseAddress, Subject, WebAddress
from toolchain.progress import Silent


@dataclass
class Double:
    """A subject without processes; what was done with it is in `told`."""

    name: str
    told: list[str] = field(default_factory=list)
    fails_at: str = ""

    def start(self, directory: Path) -> None:
        assert directory.is_dir()
        self._do("start")

    def stop(self) -> None:
        self.told.append("stop")

    def roots(self) -> Sequence[int]:
        return []

    def dimse(self) -> DimseAddress:
        return DimseAddress(1, "X")

    def web(self) -> WebAddress:
        raise CannotError("no HTTP")

    def configuration(self) -> str:
        return "a double"

    def _do(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails_at:
            raise ServerError("the double ended", "it was told to", "Nothing.")


class Doubles(Row):
    number = 99
    title = "doubles"
    unit = "thing"
    client = "none"
    aims = (Aim("things/s", "a", "b", at_least=1),)

    def __init__(self, *found: Double, measure: Callable[[Subject, str], Sample] | None = None) -> None:
        self.found, self.order = found, list[str]()
        self._measure = measure

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["one", "two"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return self.found

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        def measure() -> Sample:
            self.order.append(f"{case} {subject.name}")
            if self._measure is not None:
                return self._measure(subject, case)
            return Sample(10, {"things/s": 5.0})

        yield measure


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SETTLE_SECONDS", 0.0)


class TwoTurns(Stage):
    """A stage on which everything is measured twice."""

    @property
    def repeats(self) -> int:
        return 2


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return TwoTurns(Peers(tmp_path, "none"), tmp_path / "work", tmp_path / "memory", quick=True)


def run(row: Row, stage: Stage) -> RowResult:
    return RowRunner(row, stage, Silent()).run()


def test_the_warm_up_does_not_count_and_the_order_alternates(stage: Stage) -> None:
    row = Doubles(Double("a"), Double("b"))
    result = run(row, stage)
    assert row.order[:6] == ["one a", "one b", "one b", "one a", "one a", "one b"]
    assert [outcome.figures["things/s"] for outcome in result.outcomes] == [[5.0, 5.0]] * 4
    assert all(len(outcome.figures[CPU]) == 2 for outcome in result.outcomes)


def test_a_subject_that_does_not_start_is_told_of_in_every_case_and_the_others_go_on(stage: Stage) -> None:
    result = run(Doubles(Double("a", fails_at="start"), Double("b")), stage)
    broken = [outcome for outcome in result.outcomes if outcome.subject == "a"]
    assert [(outcome.failed, outcome.reason) for outcome in broken] == [
        (True, "the double ended: it was told to")
    ] * 2
    assert all(outcome.reason is None for outcome in result.outcomes if outcome.subject == "b")


def test_a_subject_that_fails_while_measured_is_left_out_from_there_on(stage: Stage) -> None:
    def measure(subject: Subject, case: str) -> Sample:
        if (subject.name, case) == ("a", "two"):
            raise ServerError("gone", "killed", "Nothing.")
        return Sample(1, {"things/s": 1.0})

    row = Doubles(Double("a"), Double("b"), measure=measure)
    result = run(row, stage)
    assert row.order.count("two a") == 1
    assert [(o.case, o.subject, o.failed) for o in result.outcomes if o.reason] == [("two", "a", True)]


def test_what_a_subject_cannot_do_is_no_failure_and_leaves_its_other_cases(stage: Stage) -> None:
    def measure(subject: Subject, case: str) -> Sample:
        if (subject.name, case) == ("a", "one"):
            subject.web()
        return Sample(1, {"things/s": 1.0})

    result = run(Doubles(Double("a"), Double("b"), measure=measure), stage)
    assert [(o.case, o.reason, o.failed) for o in result.outcomes if o.reason] == [("one", "no HTTP", False)]
    assert result.failures == []


def test_every_subject_is_stopped_and_its_files_are_gone_whatever_happens(stage: Stage) -> None:
    def measure(subject: Subject, case: str) -> Sample:
        raise KeyboardInterrupt

    doubles = Double("a"), Double("b")
    with pytest.raises(KeyboardInterrupt):
        run(Doubles(*doubles, measure=measure), stage)
    assert [double.told[-1] for double in doubles] == ["stop", "stop"]
    assert list(stage.work.iterdir()) == []


def test_the_cpu_of_a_client_is_not_the_subjects(stage: Stage) -> None:
    def measure(subject: Subject, case: str) -> Sample:
        subprocess.run(
            [sys.executable, "-c", "import time\nwhile time.process_time() < 0.1: pass"],
            check=True,
            env=dict(os.environ),
        )
        return Sample(1000, {"things/s": 1.0})

    result = run(Doubles(Double("a"), measure=measure), stage)
    assert result.outcomes[0].figures[CPU] == [0.0, 0.0]
    assert result.outcomes[0].figures[CLIENT_CPU][0] >= 0.1
