"""`./pacs verify`: a table for people, JSON for machines, an exit code for both (contracts section 13)."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.console import err, out
from cli.errors import UsageError
from cli.exit_codes import ExitCode
from cli.options import Json, Stack
from cli.verify.checks import READABLE_WITHIN_SECONDS, Report, run_checks
from cli.verify.corpus import CorpusError
from cli.verify.target import Target, target_of
from infra.config.region import load_region
from infra.pki.private_files import PkiError
from toolchain.paths import state_directory


def verify(
    stack: Stack = "local",
    site: Annotated[str | None, typer.Option(help="The branch to send through (default: the first).")] = None,
    as_json: Json = False,
) -> None:
    """Send real files through a branch's DICOM port and compare every byte at the centre."""
    try:
        target = target_of(load_region(stack), state_directory(stack), site=site)
        with tempfile.TemporaryDirectory(prefix="pacs-verify-") as folder:
            report = run_checks(target, Path(folder), progress=lambda text: err.print(f"verify: {text}"))
    except (PkiError, CorpusError) as error:
        raise UsageError("verify cannot begin", str(error), "See ./pacs status.") from error
    if as_json:
        sys.stdout.write(json.dumps(as_document(report, target), ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(report, target, out)
    if not report.passed:
        raise typer.Exit(ExitCode.DIFFERENCE)


def as_document(report: Report, target: Target) -> dict[str, object]:
    """The report as plain data: `{stack, branch, run, passed, limit_seconds, checks: [...]}`."""
    return {
        "stack": target.stack,
        "branch": target.branch.ae_title,
        "run": report.run,
        "passed": report.passed,
        "limit_seconds": READABLE_WITHIN_SECONDS,
        "checks": [asdict(check) for check in report.checks],
    }


def print_report(report: Report, target: Target, console: Console) -> None:
    """One line a file for what passed, one for each failure (in words, not only in colour), and the sum."""
    title = f"{target.branch.ae_title} -> {target.centre_url}, run {report.run}"
    table = Table(title=title, title_justify="left")
    for column in ("of", "check", "result", "seen"):
        table.add_column(column)
    for subject in dict.fromkeys(check.subject for check in report.checks):
        checks = [check for check in report.checks if check.subject == subject]
        passed = [check for check in checks if check.passed]
        if passed:
            names = ", ".join(dict.fromkeys(check.name for check in passed))
            table.add_row(subject, names, "[green]pass[/]", "; ".join(_plain(check.seen) for check in passed))
        for check in checks:
            if not check.passed:
                table.add_row(subject, check.name, "[bold red]FAIL[/]", _plain(check.seen))
    console.print(table)
    failed = sum(not check.passed for check in report.checks)
    count = len(report.checks)
    verdict = f"{failed} of {count} checks failed" if failed else f"all {count} checks passed"
    console.print(verdict, style="bold red" if failed else "green", highlight=False)


def _plain(text: str) -> str:
    """Text from the network as text: no markup, no control characters (they could move the cursor)."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("[", r"\[")
