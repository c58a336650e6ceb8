"""One run of `./pacs bench`: rows one after the other, each kept as soon as it is measured.

A row whose result is in the cache is not measured again while commit, machine and `--quick` are the same,
so that a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.errors import BenchError, KeepError
from bench.peers import obtain
from bench.plots import plot
from bench.report import document
from bench.results import RowResult, Run, load_row, run_from_json, to_json
from bench.rows.row import Row, Stage
from bench.runner import RowRunner
from toolchain.paths import REPOSITORY, cache_directory
from toolchain.progress import Progress

KEPT = REPOSITORY / "docs" / "benchmarks"
MEMORY = Path("/dev/shm/pacs-bench")  # noqa: S108 - ours alone while the lock is held, gone when the run ends
OTHERS_SHARE = 0.15
"""More of the CPU than this went to others: the machine was not quiet, and figures of it are not kept."""


@dataclass(frozen=True)
class Session:
    """Where a run keeps its results and its files."""

    quick: bool
    again: bool
    progress: Progress
    million: bool = False

    def run(self, rows: Sequence[Row]) -> Run:
        """Measure `rows`. Raises BenchError where another run is under way."""
        home = cache_directory() / "bench"
        home.mkdir(parents=True, exist_ok=True)
        with (
            _alone(home / "lock"),
            _emptied(home / "work") as work,
            _emptied(MEMORY) as memory,
        ):
            peers = obtain(self.progress)
            facts, versions, commit = machine.describe(work), machine.versions(peers), machine.commit()
            folder = home / "results" / _key(facts, versions, commit, self.quick, self.million)
            folder.mkdir(parents=True, exist_ok=True)
            stage = Stage(peers, work, memory, self.quick, self.million)
            found = [self._row(row, stage, folder) for row in rows]
        return Run(facts, versions, commit, tuple(found))

    def _row(self, row: Row, stage: Stage, folder: Path) -> RowResult:
        file, name = folder / f"row-{row.number}.json", f"row {row.number}"
        kept = load_row(file)
        if kept is not None and not kept.failures and not self.again:
            self.progress.done(
                name, f"measured at {kept.measured_at} for this commit; --again measures it anew"
            )
            return kept
        result = RowRunner(row, stage, self.progress).run()
        file.write_text(to_json(result), encoding="utf-8")
        self.progress.done(
            name, f"{result.title}: {'with failures' if result.failures else 'measured'}", result.seconds
        )
        return result


def keep(run: Run, numbers: Sequence[int], target: Path = KEPT) -> None:
    """Write results, page and plots into docs/benchmarks/. Raises KeepError for what does not belong there."""
    missing = sorted(set(numbers) - {row.number for row in run.rows})
    if missing:
        raise KeepError(
            "these results are of some rows only", f"rows {missing} are missing", "Run without --rows."
        )
    if any(row.quick for row in run.rows):
        raise KeepError(
            "these results are of a quick run", "three repeats of small batches", "Run without --quick."
        )
    if "changes" in run.commit:
        raise KeepError(
            "these results are of no commit", "the tree has changes", "Commit them and run again."
        )
    disturbed = [
        f"row {row.number}: {row.others_share:.0%}" for row in run.rows if row.others_share > OTHERS_SHARE
    ]
    if disturbed:
        raise KeepError(
            "the machine was not quiet",
            f"others took of its CPU: {', '.join(disturbed)}",
            "Run again when it is, with --again.",
        )
    write(run, target)


def write(run: Run, target: Path) -> None:
    """The three kinds of files that a kept run consists of."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("row-*.svg"):
        old.unlink()
    (target / "results.json").write_text(to_json(run), encoding="utf-8")
    (target / "README.md").write_text(document(run), encoding="utf-8")
    for row in run.rows:
        (target / f"row-{row.number}.svg").write_text(plot(row), encoding="utf-8")


def kept_run(target: Path = KEPT) -> Run | None:
    """The run that docs/benchmarks/ holds, if any."""
    file = target / "results.json"
    return run_from_json(file.read_text(encoding="utf-8")) if file.exists() else None


def _key(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _emptied(directory: Path) -> Iterator[Path]:
    """`directory` with nothing in it, whatever a run that was killed left; gone when the block ends."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One run at a time on a machine: two would measure each other."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(
                "another ./pacs bench is running", "two would measure each other", "Wait for it, or end it."
            ) from None
        yield
