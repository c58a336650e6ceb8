"""`./pacs archive`: index against bucket, and the index made anew, by the archive's own program in the region."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import IO, Annotated, Any

import typer
from rich.table import Table

from cli import console
from cli.engine.workspace import Layout
from cli.errors import StepError, UsageError
from cli.exit_codes import ExitCode
from cli.options import Json, Stack
from toolchain.errors import ToolchainError
from toolchain.install import installed

POD = "statefulset/archive"


class Task(StrEnum):
    """What can be done; each is a command of `python -m services.archive`."""

    CHECK = "check"
    REBUILD = "rebuild"
    COMPACT = "compact"
    SWEEP = "sweep"


What = Annotated[
    Task,
    typer.Argument(
        help="check: compare index and bucket. rebuild: enter what has no row. compact: write packs with dead "
        "bytes anew. sweep: remove what was replaced, list what nobody knows."
    ),
]
Full = Annotated[bool, typer.Option("--full", help="check: read and digest every byte of every pack.")]
Sample = Annotated[
    float | None,
    typer.Option("--sample", min=0, max=1, help="check: share of the packs whose bytes are read (0.02)."),
]
Restart = Annotated[bool, typer.Option("--restart", help="check: begin anew where one was interrupted.")]


def archive(  # noqa: PLR0917 - typer's options are parameters
    task: What,
    stack: Stack = "local",
    full: Full = False,
    sample: Sample = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Look after the centre's archive: compare, rebuild, compact, sweep.

    An interrupted check goes on where it stopped. Exit 1 where there is a difference: `docs/runbooks/ArchiveDiffers.md`.
    """
    options = options_of(task, full=full, sample=sample, restart=restart)
    layout = Layout(stack)
    if not layout.kubeconfig.is_file():
        raise StepError(
            "the archive cannot be reached",
            f"{layout.kubeconfig} is not there: this stack was never brought up from here",
            "Run ./pacs up.",
        )
    status, document = run_task(command_of(layout, task, options))
    if document is None:
        raise StepError(
            f"{task} did not come to its end",
            f"the archive's program ended with {status}",
            "Run the same command again; what it did stays done. ./pacs status says which part is down.",
        )
    console.emit(document, table_of(task, document), as_json=as_json)
    if any(document.get(name) for name in ("differences", "damaged", "skipped", "left")):
        raise typer.Exit(ExitCode.DIFFERENCE)


def options_of(task: Task, *, full: bool, sample: float | None, restart: bool) -> list[str]:
    """The task's own options. Raises `UsageError` for those of another task."""
    if task is not Task.CHECK and (full or restart or sample is not None):
        raise UsageError(
            f"{task} has no such option",
            "--full, --sample and --restart are about a check",
            "Leave them away.",
        )
    found = ["--full"] if full else []
    found += ["--sample", str(sample)] if sample is not None else []
    return found + (["--restart"] if restart else [])


def command_of(layout: Layout, task: Task, options: Sequence[str]) -> list[str]:
    """How the task is begun in the archive's first pod."""
    try:
        kubectl = str(installed(["kubernetes"])["kubectl"])
    except ToolchainError:
        kubectl = shutil.which("kubectl") or "kubectl"
    inside = ["python", "-m", "services.archive", str(task), *options]
    return [
        kubectl, f"--kubeconfig={layout.kubeconfig}", "--namespace=pacs", "exec", POD, "--container=archive", "--",
        *inside,
    ]  # fmt: skip


def run_task(command: Sequence[str]) -> tuple[int, dict[str, Any] | None]:
    """Run it, showing its progress; its exit status, and the document it printed, None where there is none."""
    with console.progress() as lines:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - they are pipes
        follow(process.stderr, lines.update)
        text = process.stdout.read()
        status = process.wait()
    try:
        document = json.loads(text)
    except ValueError:
        return status, None
    return status, document if isinstance(document, dict) else None


def follow(stream: IO[str], update: Callable[[str, str], None]) -> None:
    """Show progress lines, and keep all others in the log."""
    for text in stream:
        try:
            line = json.loads(text)
            task = str(line.pop("progress"))
        except (ValueError, KeyError, AttributeError):
            console.log.info("archive: %s", text.rstrip())
            continue
        update(task, ", ".join(f"{name} {value}" for name, value in line.items()))


def table_of(task: Task, document: dict[str, Any]) -> Table:
    """What a person reads: the figures, or each difference."""
    differences = document.get("differences")
    if differences:
        table = Table("difference", "object", "detail", title=f"{len(differences)} differences")
        for one in differences:
            table.add_row(str(one["kind"]), str(one["key"]), str(one["detail"]))
        return table
    if document.get("left"):
        table = Table("object", "why it was left", title=f"{len(document['left'])} objects are left")
        for one in document["left"]:
            table.add_row(str(one["key"]), str(one["reason"]))
        return table
    table = Table("figure", "value", title=f"{task}: no difference" if task is Task.CHECK else str(task))
    for name, value in document.items():
        if name not in ("differences", "after", "left"):
            table.add_row(name.replace("_", " "), str(value))
    return table
