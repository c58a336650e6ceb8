"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "will-install", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """One line of `./pacs doctor`: what was found, what is needed, and what to do when that differs.

    `missing` stops `up`; `warn` does not; `will-install` is something `up` brings itself.
    """

    name: str
    outcome: Outcome
    found: str
    needed: str
    action: str = ""
