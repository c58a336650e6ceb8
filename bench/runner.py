"""Runs one row: starts its subjects, measures them in turn, each repeat in the other order, counts their CPU.

A subject that fails is left out from there on, and its row says why; the others go on.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError

import httpx

from bench.errors import BenchError, CannotError
from bench.processes import cpu_seconds, machine_seconds
from bench.results import CPU, Outcome, RowResult
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject
from toolchain.errors import ToolchainError
from toolchain.progress import Progress

CLIENT_CPU = "client CPU s per 1000"
SETTLE_SECONDS = 20.0
"""How long the work that a measurement left behind (sealing, checkpoints) may take before the next one begins."""
_IDLE_SECONDS = 0.05
"""CPU time in half a second of a subject that does nothing: Ceph's daemons talk to each other all the time."""

_FAULTS = (BenchError, ToolchainError, httpx.HTTPError, OSError, SubprocessError, ValueError)


@dataclass
class _Course:
    """What was found about one subject in one case."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    reason: str | None = None
    failed: bool = False

    def add(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    def outcome(self, case: str, subject: str) -> Outcome:
        return Outcome(case, subject, self.figures, self.reason, self.failed)


class RowRunner:
    """One run of one row."""

    def __init__(self, row: Row, stage: Stage, progress: Progress) -> None:
        self._row, self._stage, self._progress = row, stage, progress
        self._subjects = list(row.subjects(stage.peers))
        self._courses = {
            (case, subject.name): _Course() for case in row.cases(stage) for subject in self._subjects
        }
        self._broken: dict[str, _Course] = {}

    def run(self) -> RowResult:
        """Measure everything. No subject runs any more when it returns or raises."""
        begun, measured_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        busy, ours = machine_seconds(), self._ours()
        try:
            self._start()
            for case in self._row.cases(self._stage):
                self._measure_case(case)
            worked, ours = machine_seconds() - busy, self._ours() - ours
        finally:
            for subject in self._subjects:
                subject.stop()
                shutil.rmtree(self._home(subject), ignore_errors=True)
        return RowResult(
            number=self._row.number,
            title=self._row.title,
            unit=self._row.unit,
            quick=self._stage.quick,
            repeats=self._stage.repeats,
            measured_at=measured_at,
            seconds=round(time.monotonic() - begun, 1),
            client=self._row.client,
            others_share=round(max(worked - ours, 0.0) / max(worked, 0.01), 3),
            aims=tuple(self._row.aims),
            outcomes=tuple(course.outcome(*key) for key, course in self._courses.items()),
            configurations={subject.name: subject.configuration() for subject in self._subjects},
            notes=tuple(self._row.notes),
        )

    def _start(self) -> None:
        for subject in self._subjects:
            self._tell(subject, "starting")
            home = self._home(subject)
            home.mkdir(parents=True)
            home.chmod(0o711)
            self._guard(subject, None, lambda subject=subject, home=home: subject.start(home))  # type: ignore[misc]
            self._guard(subject, None, lambda subject=subject: self._row.prepare(self._stage, subject))  # type: ignore[misc]
            self._settle(subject)

    def _measure_case(self, case: str) -> None:
        for turn in range(self._stage.repeats + 1):
            order = self._subjects if turn % 2 == 0 else list(reversed(self._subjects))
            for subject in order:
                self._tell(
                    subject, f"{case}, {f'repeat {turn} of {self._stage.repeats}' if turn else 'warm-up'}"
                )
                self._guard(subject, case, lambda s=subject, t=turn: self._measure(s, case, t))  # type: ignore[misc]

    def _measure(self, subject: Subject, case: str, turn: int) -> None:
        name = f"{self._row.number}-{subject.name}-{case.replace(' ', '-').replace('/', '-')}-{turn}"
        with self._row.measurement(self._stage, subject, case, name) as measure:
            before, clients = cpu_seconds(subject.roots()), _children_seconds()
            sample: Sample = measure()
            self._settle(subject)
            used = cpu_seconds(subject.roots()) - before
            asked = _children_seconds() - clients
        if turn:
            per = 1000 / sample.units
            self._courses[case, subject.name].add(
                {**sample.figures, CPU: used * per, CLIENT_CPU: asked * per}
            )

    def _guard(self, subject: Subject, case: str | None, work: Callable[[], None]) -> None:
        """Do `work` unless the subject has failed before; what goes wrong ends this subject, not the row."""
        course = None if case is None else self._courses[case, subject.name]
        if subject.name in self._broken:
            broken = self._broken[subject.name]
            if course is not None and course.reason is None:
                course.reason, course.failed = broken.reason, True
            return
        if course is not None and course.reason is not None:
            return
        try:
            work()
        except CannotError as error:
            reason, failed = error.why, False
        except _FAULTS as error:
            reason, failed = (
                (f"{error.what}: {error.why}" if isinstance(error, BenchError) else repr(error)),
                True,
            )
        else:
            return
        for key, found in self._courses.items():
            if key[1] == subject.name and case in (None, key[0]):
                found.reason, found.failed = reason, failed
        if failed:
            self._broken[subject.name] = _Course(reason=reason, failed=True)
            self._progress.done(f"row {self._row.number}, {subject.name}", f"failed: {reason}")

    def _settle(self, subject: Subject) -> None:
        """Wait until the subject does nothing, so that what it still had to do is counted, and disturbs no other."""
        deadline = time.monotonic() + SETTLE_SECONDS
        last = cpu_seconds(subject.roots())
        while time.monotonic() < deadline:
            time.sleep(0.5)
            now = cpu_seconds(subject.roots())
            if now - last <= _IDLE_SECONDS:
                return
            last = now

    def _ours(self) -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        roots = [root for subject in self._subjects for root in subject.roots()]
        return own.ru_utime + own.ru_stime + _children_seconds() + cpu_seconds(roots)

    def _home(self, subject: Subject) -> Path:
        place = self._stage.memory if self._row.in_memory else self._stage.work
        return place / f"subject-{subject.name}"

    def _tell(self, subject: Subject, doing: str) -> None:
        self._progress.update(f"row {self._row.number}", f"{subject.name}: {doing}")


def _children_seconds() -> float:
    """CPU seconds of the processes that were started here and have ended: the clients."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
