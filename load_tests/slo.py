"""Objectives of a load test: read from slo.yaml, compared with exact samples, decided by exit code."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from load_tests.arrivals import Punctuality

SLO_FILE = Path(__file__).with_name("slo.yaml")


class SloError(ValueError):
    """The objectives cannot be used; the text names the intent and the key."""


@dataclass(frozen=True)
class Objective:
    """For one kind of request: the 95th percentile in seconds, and the share that may fail."""

    name: str
    p95: float
    failures: float


@dataclass(frozen=True)
class Objectives:
    """All objectives of one intent. `late_starts` is the share of starts that may be late."""

    requests: tuple[Objective, ...]
    late_starts: float

    @classmethod
    def load(cls, intent: str, path: Path = SLO_FILE) -> Objectives:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if intent not in document:
            raise SloError(f"{path.name} has no objectives for {intent!r}; there are: {', '.join(document)}")
        section: dict[str, Any] = document[intent]
        try:
            requests = tuple(Objective(name, **limits) for name, limits in section["requests"].items())
            return cls(requests, float(section["late_starts"]))
        except (KeyError, TypeError) as error:
            raise SloError(f"{path.name}: {intent}: {error}; each request needs p95 and failures") from error


@dataclass
class Samples:
    """Every request of a run, fed by Locust's event: seconds of each, by name, and how many failed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    reasons: dict[str, str] = field(default_factory=dict)

    def take(
        self, name: str, response_time: float, exception: BaseException | None = None, **_: object
    ) -> None:
        """A failed request keeps its time: what timed out must not vanish from the percentile."""
        self.seconds[name].append(response_time / 1000)
        if exception is not None:
            self.failed[name] += 1
            self.reasons.setdefault(name, f"{type(exception).__name__}: {exception}")


@dataclass(frozen=True)
class Verdict:
    """One objective, kept or not. `seen` says what was measured."""

    name: str
    wanted: str
    seen: str
    kept: bool


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def judge(objectives: Objectives, samples: Samples, punctuality: Mapping[str, Punctuality]) -> list[Verdict]:
    """Compare: latency and failures of each request, then the punctuality of each role."""
    verdicts = []
    for objective in objectives.requests:
        seconds = samples.seconds.get(objective.name, [])
        wanted = f"p95 <= {objective.p95:g} s, failures <= {objective.failures:.1%}"
        if not seconds:
            verdicts.append(Verdict(objective.name, wanted, "never asked", kept=False))
            continue
        p95, failed = percentile(seconds, 0.95), samples.failed.get(objective.name, 0)
        seen = (
            f"{len(seconds)} requests, p50 {percentile(seconds, 0.5):.3f} s, p95 {p95:.3f} s, {failed} failed"
        )
        if failed:
            seen += f" ({samples.reasons[objective.name]})"
        kept = p95 <= objective.p95 and failed <= objective.failures * len(seconds)
        verdicts.append(Verdict(objective.name, wanted, seen, kept))
    for role, record in punctuality.items():
        seen = f"{record.late} of {record.starts} late, worst {record.worst:.3f} s"
        verdicts.append(
            Verdict(
                f"late starts: {role}",
                f"<= {objectives.late_starts:.0%}",
                seen,
                record.late <= objectives.late_starts * record.starts,
            )
        )
    return verdicts


def table(verdicts: list[Verdict], title: str) -> Table:
    """For people: failures in words, not only in colour."""
    shown = Table(title=title, title_justify="left")
    for column in ("objective", "wanted", "seen", "result"):
        shown.add_column(column)
    for verdict in verdicts:
        result = "[green]kept[/]" if verdict.kept else "[bold red]MISSED[/]"
        shown.add_row(verdict.name, verdict.wanted, verdict.seen.replace("[", r"\["), result)
    return shown
