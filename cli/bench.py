"""`./pacs bench`: our archive beside Orthanc, DCMTK and pynetdicom, in one run on this machine, without a cluster."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markdown import Markdown

from bench.report import heading, section, summary
from bench.results import to_json
from bench.rows.catalogue import rows as catalogue
from bench.session import KEPT, Session, keep
from bench.verdicts import verdicts
from cli import console
from cli.errors import UsageError
from cli.exit_codes import ExitCode
from cli.options import Json
from toolchain import debian

Rows = Annotated[str, typer.Option("--rows", metavar="1,2,...", help="Only these rows.")]
Quick = Annotated[bool, typer.Option("--quick", help="Three repeats of small batches: minutes, and rougher.")]
Again = Annotated[bool, typer.Option("--again", help="Measure rows anew that were measured for this commit.")]
Million = Annotated[
    bool, typer.Option("--million", help="Row 3 up to a million instances: hours, for the peers' sake.")
]
Keep = Annotated[
    bool,
    typer.Option("--keep", help=f"Write {KEPT.name}/ in docs/: all rows, not quick, on a quiet machine."),
]


def bench(
    rows: Rows = "",
    *,
    quick: Quick = False,
    again: Again = False,
    million: Million = False,
    keep_results: Keep = False,
    as_json: Json = False,
) -> None:
    """Measure the rows of the comparison and say which aims are reached; exit 1 where a subject failed.

    Results stay in the cache: an interrupted run goes on with the next row. An aim that is not reached is a
    finding and no failure.
    """
    known = catalogue()
    numbers = chosen(rows, list(known))
    with console.progress() as progress:
        debian.install(debian.listed("bench"), progress)
        run = Session(quick=quick, again=again, progress=progress, million=million).run(
            [known[number] for number in numbers]
        )
    if as_json:
        console.emit(json.loads(to_json(run)), "", as_json=True)
    else:
        for row in run.rows:
            _show(f"{heading(row)}\n\n{section(row)}\n")
        _show(f"## Aims\n\n{summary(run.rows)}")
    reached = [verdict.reached for row in run.rows for verdict in verdicts(row)]
    console.say(f"{sum(reached)} of {len(reached)} aims reached, each case counted")
    if keep_results:
        keep(run, list(known))
        console.say(f"kept in {KEPT}")
    if any(row.failures for row in run.rows):
        raise typer.Exit(ExitCode.DIFFERENCE)


def _show(text: str) -> None:
    """Drawn on a terminal; elsewhere the Markdown itself, whose lines are not broken."""
    if console.out.is_terminal:
        console.out.print(Markdown(text))
    else:
        console.out.print(text, markup=False, soft_wrap=True)


def chosen(text: str, known: list[int]) -> list[int]:
    """The numbers in `text`, in the order of `known`; all of them for an empty text. Raises UsageError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if not word.isdigit() or int(word) not in known]
    if wrong:
        raise UsageError(
            f"there is no row {', '.join(wrong)}",
            f"the rows are {', '.join(map(str, known))}",
            "Name some of these.",
        )
    return [number for number in known if not words or str(number) in {str(int(word)) for word in words}]
