"""Rules as data, and their form in a Prometheus rule file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Severity(Enum):
    """What is to be done: get up, look at it today, or nothing at once."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


@dataclass(frozen=True)
class Recording:
    """A series that is computed once, because several rules or panels ask for it."""

    name: str
    expr: str

    def as_rule(self) -> dict[str, Any]:
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True)
class Alert:
    """Fires when `expr` has yielded something for `lasting` (a Prometheus duration).

    `summary` is one line that fits a phone; `description` has the normal range. Both may use
    Prometheus templates (`{{ $labels.site }}`). The runbook is `docs/runbooks/<name>.md`.
    """

    name: str
    expr: str
    lasting: str
    severity: Severity
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        return f"docs/runbooks/{self.name}.md"

    def as_rule(self) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity.value},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook": self.runbook,
            },
        }


def rule_file(groups: dict[str, list[Recording] | list[Alert]]) -> dict[str, Any]:
    """The document of one rule file: group name -> rules, evaluated in this order."""
    return {
        "groups": [
            {"name": name, "rules": [rule.as_rule() for rule in rules]} for name, rules in groups.items()
        ]
    }
