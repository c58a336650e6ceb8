"""Results as a run finds them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.results import CPU, Aim, Outcome, RowResult, Run

RATE = "instances/s"
AIM = Aim(RATE, "archive", "orthanc", at_least=5)


def outcome(case: str, subject: str, *rates: float, cpu: float = 1.0) -> Outcome:
    return Outcome(case, subject, {RATE: list(rates), CPU: [cpu] * len(rates)})


def row(outcomes: Sequence[Outcome], aims: Sequence[Aim] = (AIM,), **changes: Any) -> RowResult:
    known: dict[str, Any] = {
        "number": 2, "title": "C-STORE", "unit": "instance", "quick": False, "repeats": 3,
        "measured_at": "2026-01-01T00:00:00+00:00", "seconds": 61.0, "client": "storescu", "others_share": 0.01,
        "configurations": {"archive": "the product's defaults"}, "notes": ("Slices of 512 KiB.",),
    }  # fmt: skip
    return RowResult(aims=tuple(aims), outcomes=tuple(outcomes), **known | changes)


def run(*rows: RowResult, commit: str = "abc1234") -> Run:
    return Run({"cores": "2"}, {"orthanc": "1.13.0"}, commit, rows)


REACHED = row(
    [outcome("1 association", "archive", 600, 610, 590), outcome("1 association", "orthanc", 100, 90, 110)]
)
MISSED = row([outcome("1 association", "archive", 300), outcome("1 association", "orthanc", 100)])
FAILED = row(
    [
        outcome("1 association", "archive", 600),
        Outcome("1 association", "orthanc", reason="Orthanc did not listen: it ended with 1", failed=True),
    ]
)
