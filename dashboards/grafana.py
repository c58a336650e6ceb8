"""Board -> Grafana's dashboard JSON (schema 39, Grafana 10.4 and later read it)."""

from __future__ import annotations

from typing import Any

from dashboards.model import Board, Panel, Query, Text

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_HEIGHT = 8


def dashboard(board: Board) -> dict[str, Any]:
    """The whole dashboard; panel ids are positions, so a change of text changes no id."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in board.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": _both(row.title),
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
                "panels": [],
            }
        )
        x, y = 0, y + 1
        for panel in row.panels:
            width = panel.width * _COLUMNS // 4
            if x + width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            panels.append(_panel(panel, len(panels) + 1, {"x": x, "y": y, "w": width, "h": _HEIGHT}))
            x += width
        y += _HEIGHT
    return {
        "uid": board.uid,
        "title": _both(board.title),
        "tags": ["pacs"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit.value, "min": 0}
    if panel.threshold:
        limit = panel.threshold
        colours = (
            [("green", None), ("orange", limit.warning), ("red", limit.critical)]
            if limit.above
            else [("red", None), ("orange", limit.critical), ("green", limit.warning)]
        )
        steps = [{"color": colour, "value": value} for colour, value in colours]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if panel.kind == "lines":
            defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    return {
        "id": number,
        "type": "timeseries" if panel.kind == "lines" else "stat",
        "title": _both(panel.title),
        "description": _both(panel.good),
        "datasource": _DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
    }


def _target(query: Query, letter: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": _DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "range": True,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "site",
            "type": "query",
            "label": "Site",
            "datasource": _DATASOURCE,
            "query": {"query": "label_values(up, site)", "refId": "site"},
            "definition": "label_values(up, site)",
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        },
    ]


def _both(text: Text) -> str:
    return f"{text.zh} · {text.en}"
