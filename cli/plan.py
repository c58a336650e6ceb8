"""`./pacs plan`: what `up` would change, drift on hosts and in the cluster included; nothing is changed."""

from __future__ import annotations

from rich.table import Table

from cli import console, local_hosts
from cli.engine.events import Stream
from cli.engine.recovery import alone, end_orphans, release_stale_locks
from cli.engine.workspace import Layout, region_program, select
from cli.options import Json, Stack
from cli.up import failure, prepare


def plan(stack: Stack = "local", as_json: Json = False) -> None:
    """Show what `up` would create, update or delete. Exit 0 whether or not anything would change."""
    from infra.config.region import load_region  # noqa: PLC0415

    region = load_region(stack)
    layout = Layout(stack)
    layout.make()
    with alone(layout), console.progress() as progress:
        # Images are inputs by their digest: without them a plan could not say what would change.
        tools = prepare(region, progress)
        end_orphans(layout, progress)
        release_stale_locks(layout)
        local_hosts.wake(layout, progress)
        progress.update("pulumi", "reading the stack")
        program = region_program()
        workspace = select(layout, region, tools, program)
        from pulumi.automation.errors import CommandError  # noqa: PLC0415

        stream = Stream(progress)
        try:
            workspace.preview(refresh=True, on_event=stream, on_output=console.log.debug, color="never")
        except CommandError as error:
            console.log.error("%s", error)
            raise program.error or failure(stream, str(error)) from None
        finally:
            stream.finish()
    document = {
        "stack": stack,
        "changed": stream.changed,
        "unchanged": stream.unchanged,
        "components": {component.name: component.result() for component in stream.components.values()},
        "steps": [{"operation": operation, "resource": resource} for operation, resource in stream.steps],
    }
    console.emit(document, _table(stream), as_json=as_json)


def _table(stream: Stream) -> Table:
    title = f"{stream.changed} would change, {stream.unchanged} unchanged"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("operation", "resource"):
        table.add_column(column, overflow="fold")
    for operation, resource in stream.steps:
        table.add_row(operation, resource)
    return table
