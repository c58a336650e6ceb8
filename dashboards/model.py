"""A board as data: rows of panels, each with queries and a sentence that says what good looks like.

Two renderers read it (`grafana.py`, `page_panels.py`), so neither Grafana's JSON nor the page's
is written by hand, and both show the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal


@dataclass(frozen=True)
class Text:
    """One text in the two languages of the region."""

    en: str
    zh: str


class Unit(Enum):
    """What a number means; the value is Grafana's name for it."""

    SECONDS = "s"
    BYTES = "bytes"
    BYTES_PER_SECOND = "Bps"
    PER_SECOND = "cps"
    COUNT = "short"
    SHARE = "percentunit"


@dataclass(frozen=True)
class Query:
    """One PromQL expression (from `queries/`) and how its series are called (`{{label}}` or plain)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Threshold:
    """Where a value stops being good. `above`: higher is worse; else lower is worse."""

    warning: float
    critical: float
    above: bool = True


@dataclass(frozen=True)
class Panel:
    """One picture. `good` tells a reader at three in the morning what it looks like when all is well."""

    key: str
    title: Text
    good: Text
    unit: Unit
    queries: tuple[Query, ...]
    kind: Literal["lines", "figure"] = "lines"
    threshold: Threshold | None = None
    width: Literal[1, 2, 3, 4] = 2
    """Quarters of a row."""


@dataclass(frozen=True)
class Row:
    """Panels that answer one question."""

    title: Text
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. `uid` is stable: links to it survive a new version."""

    uid: str
    title: Text
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)
