"""What tests measured: printed at the end of the run, whether they passed or not (`tests/conftest.py`)."""

from __future__ import annotations

from dataclasses import dataclass

FIGURE = "figure"
"""The property of a test's report that holds one."""
FIGURES: list[str] = []
"""Of the test that runs."""


@dataclass(frozen=True)
class Figures:
    """One fault. Seconds are from the fault until an instance that was sent after it could be read."""

    fault: str
    acknowledged: int
    resent: int
    lost: int
    seconds: float | None = None

    def __str__(self) -> str:
        back = "" if self.seconds is None else f", back after {self.seconds:.1f} s"
        return f"{self.fault}: {self.acknowledged} acknowledged, {self.resent} resent, {self.lost} lost{back}"


def note(line: object) -> None:
    """Keep a line for the end of the run."""
    FIGURES.append(str(line))
