"""The results as Markdown: no number in it is typed by hand, all of it comes from a `Run`."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results import CPU, Aim, Outcome, RowResult, Run
from bench.statistics import median, p95
from bench.verdicts import Verdict, verdicts, worst

ABOUT = """# Comparison with Orthanc, DCMTK and pynetdicom

`./pacs bench` measures these side by side in one run on one machine, on plain processes; `./pacs bench --keep`
writes this page, its plots and `results.json`, which everything here is generated from (`bench/report.py`).
Each figure is the median of the repeats, and in parentheses what 95 % of them are at least as good as. Subjects
are measured in turn, in the other order with every repeat, after one warm-up that does not count. CPU seconds are
those of all processes of a subject, its database included, until it does nothing any more; those of the clients
stand apart, since both share the machine.
"""
NONE_KEPT = """
No run is kept yet: results come from a machine that does nothing else (`./pacs bench --keep` refuses others).
"""
_LOWER_IS_BETTER = (" ms", "seconds", "CPU", "slower", "growth")


def document(run: Run | None) -> str:
    """The page of docs/benchmarks/."""
    if run is None:
        return ABOUT + NONE_KEPT
    parts = [ABOUT, "## What ran where", _facts(run), "## Aims", summary(run.rows)]
    for row in run.rows:
        parts += [
            heading(row),
            f"![Row {row.number}](row-{row.number}.svg)",
            section(row),
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def heading(row: RowResult) -> str:
    """Which row this is."""
    return f"## Row {row.number}: {row.title}"


def summary(rows: Sequence[RowResult]) -> str:
    """One line for each aim, the case that decides."""
    lines = ["| row | aim | case that decides | found | reached |", "|---|---|---|---|---|"]
    for row in rows:
        for verdict in worst(verdicts(row)):
            found = verdict.reason if verdict.value is None else _found(verdict)
            reached = (
                "yes" if verdict.reached else ("**no**" if verdict.value is not None else "**not measured**")
            )
            lines.append(
                f"| {row.number} | {aim_text(verdict.aim)} | {verdict.case} | {_cell(found or '')} | {reached} |"
            )
    return "\n".join(lines)


def section(row: RowResult) -> str:
    """One row: its table, its aims in every case, and how it was measured."""
    names = list(dict.fromkeys(name for outcome in row.outcomes for name in outcome.figures))
    lines = [
        f"Client: {row.client}. {row.repeats} repeats{' (quick)' if row.quick else ''}, {row.measured_at},"
        f" {row.seconds:.0f} s; others took {row.others_share:.0%} of the CPU.",
        "",
        *(f"- {note}" for note in row.notes),
        *(f"- {subject}: {text}" for subject, text in row.configurations.items()),
        "",
        "| case | subject | " + " | ".join(names) + " |",
        "|---|---|" + "---:|" * len(names),
    ]
    for outcome in row.outcomes:
        cells = [_figure(outcome, name) for name in names]
        if outcome.reason is not None:
            cells = [_cell(("failed: " if outcome.failed else "") + outcome.reason), *[""] * (len(names) - 1)]
        lines.append(f"| {outcome.case} | {outcome.subject} | " + " | ".join(cells) + " |")
    lines += ["", "| aim | case | found | reached |", "|---|---|---|---|"]
    for verdict in verdicts(row):
        found = verdict.reason if verdict.value is None else _found(verdict)
        lines.append(
            f"| {aim_text(verdict.aim)} | {verdict.case} | {_cell(found or '')} | {'yes' if verdict.reached else '**no**'} |"
        )
    return "\n".join(lines)


def aim_text(aim: Aim) -> str:
    """`instances/s: archive >= 5 x orthanc`."""
    sign, bound = (">=", aim.at_least) if aim.at_least is not None else ("<=", aim.at_most)
    measure = f"{number(bound or 0.0)} x {aim.against}" if aim.against else number(bound or 0.0)
    return f"{aim.figure}: {aim.subject} {sign} {measure}"


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 4
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def higher_is_better(figure: str) -> bool:
    """Whether more of `figure` is better; rates are, times are not."""
    return figure != CPU and not any(mark in figure for mark in _LOWER_IS_BETTER)


def _found(verdict: Verdict) -> str:
    value = number(verdict.value or 0.0)
    return f"{value} x" if verdict.aim.against else value


def _figure(outcome: Outcome, name: str) -> str:
    values = outcome.figures.get(name)
    if not values:
        return ""
    return f"{number(median(values))} ({number(p95(values, higher_is_better=higher_is_better(name)))})"


def _facts(run: Run) -> str:
    facts = {
        **run.machine,
        **{f"{name} (version)": text for name, text in run.versions.items()},
        "commit": run.commit,
    }
    return "\n".join(
        ["| what | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in facts.items())]
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
