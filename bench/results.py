"""What a run found, as values that go into JSON and come back the same.

A row has cases (`4 associations`); in each case each subject is measured several times, and each measurement
gives named figures. An aim compares the medians of one figure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.statistics import median

FORMAT = 1
CPU = "CPU s per 1000"
"""The figure that every row has: CPU seconds of the subject's processes per 1000 units."""


@dataclass(frozen=True)
class Aim:
    """`subject`'s median of `figure` against a peer's (a factor), or against nobody (the value itself).

    Without `case` the aim must hold in every case. One of `at_least` and `at_most` is set.
    """

    figure: str
    subject: str
    against: str | None = None
    case: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"an aim of {self.figure} is either at_least or at_most")

    def holds(self, value: float) -> bool:
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


@dataclass(frozen=True)
class Outcome:
    """One subject in one case: its figures, one value a repeat, or the reason why there are none."""

    case: str
    subject: str
    figures: Mapping[str, list[float]] = field(default_factory=dict)
    reason: str | None = None
    failed: bool = False  # with a reason: a fault, and not a function that the subject does not have

    def median(self, figure: str) -> float | None:
        values = self.figures.get(figure)
        return median(values) if values and self.reason is None else None


@dataclass(frozen=True)
class RowResult:
    """One row of the comparison, as it was measured."""

    number: int
    title: str
    unit: str
    quick: bool
    repeats: int
    measured_at: str
    seconds: float
    client: str
    others_share: float  # of the machine's CPU, what neither subjects nor clients took while it was measured
    aims: tuple[Aim, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    configurations: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def cases(self) -> list[str]:
        return list(dict.fromkeys(outcome.case for outcome in self.outcomes))

    @property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(outcome.subject for outcome in self.outcomes))

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failed]

    def outcome(self, case: str, subject: str) -> Outcome | None:
        return next(
            (found for found in self.outcomes if (found.case, found.subject) == (case, subject)), None
        )


@dataclass(frozen=True)
class Run:
    """All rows of one commit on one machine."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    commit: str
    rows: tuple[RowResult, ...]


def to_json(run: Run | RowResult) -> str:
    return json.dumps({"format": FORMAT, **asdict(run)}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def row_from_json(text: str) -> RowResult:
    """Raises ValueError for another format."""
    return _row(_checked(text))


def run_from_json(text: str) -> Run:
    """Raises ValueError for another format."""
    document = _checked(text)
    rows = tuple(_row(row) for row in document["rows"])
    return Run(document["machine"], document["versions"], document["commit"], rows)


def load_row(path: Path) -> RowResult | None:
    """A row kept in `path`; None where there is none, or one of another format."""
    try:
        return row_from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checked(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    if document.pop("format", None) != FORMAT:
        raise ValueError(f"this is no result of format {FORMAT}; run ./pacs bench again")
    return document


def _row(document: dict[str, Any]) -> RowResult:
    aims = tuple(Aim(**aim) for aim in document.pop("aims"))
    outcomes = tuple(Outcome(**outcome) for outcome in document.pop("outcomes"))
    notes = tuple(document.pop("notes"))
    return RowResult(aims=aims, outcomes=outcomes, notes=notes, **document)
