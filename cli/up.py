"""`./pacs up`: from a bare machine to a running region; run again, it repairs what differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group
from rich.table import Table

from cli import console, health, local_hosts
from cli.doctor import require
from cli.engine.events import Stream
from cli.engine.plays import PlayRun, runs_since
from cli.engine.recovery import alone, drop_pending_operations, end_orphans, release_stale_locks
from cli.engine.workspace import Layout, region_program, select
from cli.errors import StepError
from cli.exit_codes import ExitCode
from cli.options import Json, Stack
from infra.pki.private_files import write_private
from toolchain import debian, install, manifests

if TYPE_CHECKING:
    from infra.config.region import RegionConfig
    from toolchain.progress import Progress

_MARKS = {
    "healthy": "[green]healthy[/green]",
    "degraded": "[yellow]degraded[/yellow]",
    "pending": "[cyan]pending[/cyan]",
    "down": "[red]down[/red]",
}


@dataclass(frozen=True)
class Outcome:
    """What one `up` did: Pulumi's counts, the plays that ran, what the stack says, how each part is.

    `seconds` from the start of the command to the verdict on the last part.
    """

    stack: str
    seconds: float
    changed: int
    unchanged: int
    components: dict[str, str]
    plays: list[PlayRun]
    outputs: dict[str, Any]
    parts: list[health.Health]


def up(stack: Stack = "local", as_json: Json = False) -> None:
    """Stand the region up, or bring it back to what the stack file declares."""
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    begun = time.monotonic()
    region = load_region(stack)
    layout = Layout(stack)
    require(stack)
    layout.make()
    with alone(layout), console.progress() as progress:
        tools = prepare(region, progress)
        # Before anything is touched: what a killed run left may be at work on the same hosts.
        ended, released = end_orphans(layout, progress), release_stale_locks(layout)
        if ended or released:
            progress.done("a killed run", f"{ended} processes ended, {released} locks released")
        local_hosts.wake(layout, progress)
        outcome = _apply(region, layout, tools, progress, begun)
    console.emit(asdict(outcome), _summary(outcome, layout), as_json=as_json)
    failed = failed_branches(outcome.outputs)
    for site, reason in failed.items():
        console.log.error(
            "branch %s failed: %s; its logs are %s. Mend the cause and run again: all else is up.",
            site, reason, layout.logs / f"branch-{site}*.log",
        )  # fmt: skip
    if failed or health.worst(outcome.parts) == "down":
        raise typer.Exit(ExitCode.FAILED)


def prepare(region: RegionConfig, progress: Progress, *, also: Sequence[str] = ()) -> install.Toolset:
    """Packages, tools, manifests and images: what must be on this machine before Pulumi begins.

    `also`: tool groups that the region itself does not need.
    """
    from infra.supplies import needed_images, needed_tools  # noqa: PLC0415
    from toolchain import images, rootfs  # noqa: PLC0415

    debian.install(debian.listed("up"), progress)
    needed = needed_images(region) if region.images.source == "directory" else []
    with ThreadPoolExecutor(1, "root-filesystems") as aside:
        # They wait for Debian's archive while the tools keep the processors busy.
        recipes = [
            *images.root_filesystems(needed),
            *([rootfs.HOST] if region.hosts.kind == "nspawn" else []),
        ]
        made = [aside.submit(rootfs.ensure, recipe, progress) for recipe in recipes]
        tools = install.ensure([*needed_tools(region), *also], progress)
        manifests.ensure(progress)
        install.drop_build_cache()
        for root in made:
            root.result()
    if needed:
        images.ensure(needed, progress)
    return tools


def _apply(
    region: RegionConfig, layout: Layout, tools: install.Toolset, progress: Progress, begun: float
) -> Outcome:
    progress.update("pulumi", "reading the stack")
    program = region_program()
    stack = select(layout, region, tools, program)
    dropped = drop_pending_operations(stack)
    if dropped:
        progress.done("pulumi", f"after a killed run: {len(dropped)} operations taken up")
    started = datetime.now(UTC)
    stream = Stream(progress)
    from pulumi.automation.errors import CommandError  # noqa: PLC0415

    try:
        result = stack.up(refresh=True, on_event=stream, on_output=console.log.debug, color="never")
    except CommandError as error:
        console.log.error("%s", error)
        raise program.error or failure(stream, str(error)) from None
    finally:
        stream.finish()
    _keep_kubeconfig(layout, result.outputs)
    outputs = {name: output.value for name, output in result.outputs.items() if not output.secret}
    parts = health.examine(region, layout)
    return Outcome(
        stack=layout.stack,
        seconds=round(time.monotonic() - begun, 1),
        changed=stream.changed,
        unchanged=stream.unchanged,
        components={component.name: component.result() for component in stream.components.values()},
        plays=runs_since(layout.logs, started),
        outputs=outputs,
        parts=parts,
    )


def failed_branches(outputs: Mapping[str, Any]) -> dict[str, str]:
    """Site -> reason of the branches whose play failed; one that is only out of reach is not among them."""
    told = {site: str(status).partition(": ") for site, status in (outputs.get("branches") or {}).items()}
    return {
        site: reason or "no task told why" for site, (status, _, reason) in told.items() if status == "failed"
    }


def failure(stream: Stream, text: str) -> StepError:
    """The first resource that failed, in its provider's words; Pulumi's own last words where none did."""
    if not stream.failures:
        lines = [line for line in text.splitlines() if line.strip()]
        return StepError("pulumi failed", "\n".join(lines[-6:]), "Run again: what was done stays done.")
    first, *others = stream.failures
    more = f" ({len(others)} more failed: see the log)" if others else ""
    return StepError(
        f"{first.resource} could not be brought to its state{more}",
        "\n".join(first.message.splitlines()[-12:]),
        "Mend the cause and run again: what was done stays done.",
    )


def _keep_kubeconfig(layout: Layout, outputs: Mapping[str, Any]) -> None:
    """Leave the operator's kubeconfig where contracts section 14 says; `status` and `env` use it."""
    output = outputs.get("kubeconfig")
    if output is not None and isinstance(output.value, str):
        write_private(layout.kubeconfig, output.value.encode())


def _summary(outcome: Outcome, layout: Layout) -> Group:
    applied = [run for run in outcome.plays if run.mode == "apply"]
    checked = [run for run in outcome.plays if run.mode == "check"]
    facts = Table(box=None, show_header=False, pad_edge=False, title="the region", title_justify="left")
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in outcome.outputs.items():
        facts.add_row(name.replace("_", " "), str(value))
    facts.add_row("credentials", str(layout.secrets))
    door = f"{outcome.outputs.get('gateway_url', '')}/ops/"
    facts.add_row("status page", f"{door} - ./pacs token --stack {layout.stack} prints a token for it")
    facts.add_row("kubeconfig", str(layout.kubeconfig))
    facts.add_row("took", f"{outcome.seconds:.0f} s")
    facts.add_row("resources", f"{outcome.unchanged} unchanged, {outcome.changed} changed")
    changed = sum(run.changed for run in outcome.plays)
    facts.add_row("plays", f"{len(checked)} checked, {len(applied)} applied, changed={changed}")
    return Group(health_table(outcome.parts), "", facts)


def health_table(parts: list[health.Health]) -> Table:
    """One line a part."""
    table = Table(box=None, pad_edge=False)
    for title in ("part", "health", "seen"):
        table.add_column(title, overflow="fold")
    for part in parts:
        table.add_row(part.part, _MARKS[part.state], part.seen)
    return table
