"""What the fault tests measured: printed at the end of the run, whether they passed or not."""

from __future__ import annotations

from dataclasses import dataclass

_LINES: list[str] = []


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
    _LINES.append(str(line))


def noted() -> list[str]:
    """All lines, in the order in which they came."""
    return list(_LINES)
