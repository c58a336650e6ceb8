"""Whether aims are reached: computed from the figures each time they are shown, never kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Aim, Outcome, RowResult


@dataclass(frozen=True)
class Verdict:
    """One aim in one case. `value` None: it could not be computed, and `reason` says why."""

    aim: Aim
    case: str
    value: float | None
    reason: str | None = None

    @property
    def reached(self) -> bool:
        return self.value is not None and self.aim.holds(self.value)


def verdicts(row: RowResult) -> list[Verdict]:
    """Every aim of `row` in every case that it speaks of; an aim that speaks of a case never measured is not reached."""
    found = []
    for aim in row.aims:
        cases = [aim.case] if aim.case is not None else row.cases
        if not cases:
            found.append(Verdict(aim, "-", None, "nothing was measured"))
        found += [_judge(row, aim, case) for case in cases]
    return found


def worst(found: Sequence[Verdict]) -> list[Verdict]:
    """Of each aim the case where it is farthest from reached: that one decides."""
    by_aim: dict[Aim, Verdict] = {}
    for verdict in found:
        if verdict.aim not in by_aim or _badness(verdict) > _badness(by_aim[verdict.aim]):
            by_aim[verdict.aim] = verdict
    return list(by_aim.values())


def _judge(row: RowResult, aim: Aim, case: str) -> Verdict:
    ours = _median(row.outcome(case, aim.subject), aim.subject, aim.figure)
    if isinstance(ours, str):
        return Verdict(aim, case, None, ours)
    if aim.against is None:
        return Verdict(aim, case, ours)
    theirs = _median(row.outcome(case, aim.against), aim.against, aim.figure)
    if isinstance(theirs, str):
        return Verdict(aim, case, None, theirs)
    if theirs == 0:
        return Verdict(aim, case, None, f"{aim.against} had 0 {aim.figure}")
    return Verdict(aim, case, ours / theirs)


def _median(outcome: Outcome | None, subject: str, figure: str) -> float | str:
    """The median, or in words why there is none."""
    if outcome is None:
        return f"{subject} was not measured"
    if outcome.reason is not None:
        return f"{subject}: {outcome.reason}"
    value = outcome.median(figure)
    return f"{subject} has no figure `{figure}`" if value is None else value


def _badness(verdict: Verdict) -> float:
    if verdict.value is None:
        return float("inf")
    return -verdict.value if verdict.aim.at_least is not None else verdict.value
