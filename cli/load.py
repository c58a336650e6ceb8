"""`./pacs load`: a load intent of load_tests/ against a stack; the exit status says whether the SLOs hold."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from cli.options import Json, Stack
from toolchain.paths import REPOSITORY

Intent = Annotated[str, typer.Argument(help="What to find out: `smoke` takes a minute.")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="How long users work.")]


def load(
    intent: Intent = "smoke", stack: Stack = "local", seconds: Seconds = None, as_json: Json = False
) -> None:
    """Let users of the hospital work on the stack's public addresses; exit 1 where an SLO is not met."""
    # Locust patches the standard library when it is imported: a process of its own keeps that to itself.
    command = [sys.executable, "-m", "load_tests", intent, "--stack", stack]
    command += ["--json"] if as_json else []
    command += ["--seconds", str(seconds)] if seconds is not None else []
    status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    if status != 0:
        raise typer.Exit(status)  # load_tests keeps the same exit codes, and has said why
