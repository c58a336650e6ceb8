"""`./pacs status`: how each part is, asked of the running system."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cli import console, health
from cli.engine.workspace import Layout
from cli.exit_codes import ExitCode
from cli.options import Json, Stack
from cli.up import health_table


def status(stack: Stack = "local", as_json: Json = False) -> None:
    """Show the health of each part; exit 1 where one is down or degraded."""
    from infra.config.region import load_region  # noqa: PLC0415

    parts = health.examine(load_region(stack), Layout(stack))
    state = health.worst(parts)
    document = {"stack": stack, "state": state, "parts": [asdict(part) for part in parts]}
    console.emit(document, health_table(parts), as_json=as_json)
    if state != "healthy":
        raise typer.Exit(ExitCode.DIFFERENCE)
