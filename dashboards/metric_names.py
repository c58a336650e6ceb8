"""Which metrics a PromQL expression asks for: the registry's tests and the region's compare by it."""

from __future__ import annotations

import re

_KEYWORDS = {
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "offset",
    "on",
    "or",
    "unless",
    "without",
}
_GROUPING = r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"


def metric_names(expr: str) -> set[str]:
    """Metric names of a PromQL expression: identifiers that are no function, label, string or keyword."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', " ", expr)
    bare = re.sub(_GROUPING, " ", bare)
    bare = re.sub(r"\b\d[\w.]*", " ", bare)  # numbers and durations
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {word for word in words if word not in _KEYWORDS}
