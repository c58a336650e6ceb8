"""One bar chart a row, as plain SVG: a bar for each subject in each case, its median with the range of the repeats.

Written by hand rather than by a plotting library: a chart is forty lines of text, the same bytes for the same
results, and readable in a diff (ADR-0022).
"""

from __future__ import annotations

from html import escape

from bench.report import number
from bench.results import Outcome, RowResult
from bench.statistics import median

_WIDTH, _LABEL, _BAR, _GAP, _TOP = 720, 250, 18, 6, 46
_COLOURS = ("#2a6f97", "#e07a5f", "#8d99ae", "#81b29a", "#b5838d", "#6d6875")


def plot(row: RowResult) -> str:
    """The first figure of `row`; a subject without one has its reason instead of a bar."""
    figure = next((name for outcome in row.outcomes for name in outcome.figures), "nothing was measured")
    top = max((max(outcome.figures.get(figure, [0.0])) for outcome in row.outcomes), default=0.0) or 1.0
    scale = (_WIDTH - _LABEL - 90) / top
    colours = {subject: _COLOURS[index % len(_COLOURS)] for index, subject in enumerate(row.subjects)}
    lines, y, case = [], _TOP, ""
    for outcome in row.outcomes:
        if outcome.case != case:
            y += _GAP * 2 if case else 0
            case = outcome.case
        lines += _bar(outcome, figure, y, scale, colours[outcome.subject])
        y += _BAR + _GAP
    title = escape(f"Row {row.number}: {row.title}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + _GAP}"'
            f' viewBox="0 0 {_WIDTH} {y + _GAP}" font-family="sans-serif" font-size="12" role="img">',
            f"<title>{title}</title>",
            f'<rect width="{_WIDTH}" height="{y + _GAP}" fill="#ffffff"/>',
            f'<text x="8" y="18" font-size="14" font-weight="bold">{title}</text>',
            f'<text x="8" y="34" fill="#555555">{escape(figure)}: median, and the range of the repeats</text>',
            *lines,
            "</svg>\n",
        ]
    )


def _bar(outcome: Outcome, figure: str, y: int, scale: float, colour: str) -> list[str]:
    middle = y + _BAR - 5
    label = f'<text x="{_LABEL - 8}" y="{middle}" text-anchor="end">{escape(f"{outcome.case}, {outcome.subject}")}</text>'
    values = outcome.figures.get(figure)
    if not values or outcome.reason is not None:
        reason = escape((outcome.reason or "not measured")[:70])
        return [label, f'<text x="{_LABEL}" y="{middle}" fill="#aa3333">{reason}</text>']
    length, low, high = (round(value * scale, 1) for value in (median(values), min(values), max(values)))
    line = y + _BAR // 2
    return [
        label,
        f'<rect x="{_LABEL}" y="{y}" width="{length}" height="{_BAR}" fill="{colour}"/>',
        f'<line x1="{_LABEL + low}" y1="{line}" x2="{_LABEL + high}" y2="{line}" stroke="#222222"/>',
        f'<text x="{_LABEL + high + 6}" y="{middle}">{number(median(values))}</text>',
    ]
