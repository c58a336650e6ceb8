"""Board and alerts -> the JSON that our own page draws from: the same panels, without Grafana."""

from __future__ import annotations

from typing import Any

from dashboards.model import Board, Panel, Text
from dashboards.rules.model import Alert


def page_panels(boards: list[Board], alerts: list[Alert]) -> dict[str, Any]:
    """Rows of all boards in order, and each alert's severity and runbook.

    Rows of the first board are what a wall shows; those of the others are marked `detail`.
    """
    return {
        "title": _text(boards[0].title),
        "rows": [
            {
                "title": _text(row.title),
                "detail": index > 0,
                "panels": [_panel(panel) for panel in row.panels],
            }
            for index, board in enumerate(boards)
            for row in board.rows
        ],
        "alerts": {
            alert.name: {"severity": alert.severity.value, "runbook": alert.runbook} for alert in alerts
        },
    }


def _panel(panel: Panel) -> dict[str, Any]:
    limit = panel.threshold
    return {
        "key": panel.key,
        "title": _text(panel.title),
        "good": _text(panel.good),
        "unit": panel.unit.name.lower(),
        "kind": panel.kind,
        "width": panel.width,
        "threshold": limit and {"warning": limit.warning, "critical": limit.critical, "above": limit.above},
        "queries": [{"expr": query.expr, "legend": query.legend} for query in panel.queries],
    }


def _text(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
