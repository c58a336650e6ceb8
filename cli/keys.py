"""`./pacs keys`: the region's wrapping keys on this machine, and their escrow in a file that a passphrase opens."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli import console
from cli.engine.recovery import alone
from cli.engine.workspace import Layout
from cli.errors import UsageError
from cli.options import Json, Stack

if TYPE_CHECKING:
    from services.archive.encryption.wrapping_keys import WrappingKeys

LEAST_CHARACTERS = 16


class Action(StrEnum):
    """What to do with the keys."""

    STATUS = "status"
    ESCROW = "escrow"
    RESTORE = "restore"


Wanted = Annotated[
    Action,
    typer.Argument(
        help="`status` lists the wrapping keys; `escrow` seals a copy of them into --file; `restore` takes them back from it."
    ),
]
File = Annotated[Path | None, typer.Option("--file", help="The escrow.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Where the escrow's passphrase is; without it, it is asked for."),
]


def keys(
    action: Wanted = Action.STATUS,
    stack: Stack = "local",
    file: File = None,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Show, escrow or restore the keys without which nothing at the centre can be read.

    Keep the escrow away from this machine and from the data centre, and its passphrase away from the escrow.
    """
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    region = load_region(stack).region.name
    layout = Layout(stack)
    if action is Action.RESTORE:
        with alone(layout):
            held = _restore(layout, region, _named(file, action), passphrase_file)
        console.say("The wrapping keys are back; ./pacs up hands them to the archive.")
    else:
        held = _held(layout, region)
    if action is Action.ESCROW:
        _escrow(held, _named(file, action), passphrase_file)
        console.say(f"{file} opens with its passphrase alone. Rehearse it: docs/keys.md.")
    entries = [{"id": key.key_id, "created_at": key.created_at} for key in held.keys]
    console.emit({"stack": stack, "wrapping_keys": entries}, _table(held), as_json=as_json)


def _held(layout: Layout, region: str) -> WrappingKeys:
    from infra.pki.private_files import read_passphrase  # noqa: PLC0415
    from infra.pki.wrapping_keys import load_wrapping_keys  # noqa: PLC0415

    return load_wrapping_keys(layout.secrets / "pki", read_passphrase(layout.passphrase), region)


def _escrow(held: WrappingKeys, target: Path, passphrase_file: Path | None) -> None:
    from infra.pki.private_files import write_private  # noqa: PLC0415
    from infra.pki.sealed import PERSON_COST, seal  # noqa: PLC0415
    from infra.pki.wrapping_keys import PURPOSE  # noqa: PLC0415

    if target.exists():
        raise UsageError(
            f"{target} is there already", "an escrow is not written over another", "Name a new file."
        )
    passphrase = _passphrase(passphrase_file, confirm=True)
    if len(passphrase) < LEAST_CHARACTERS:
        raise UsageError(
            "the passphrase is too short",
            f"it has {len(passphrase)} characters; at least {LEAST_CHARACTERS} keep a found file closed",
            "Choose a longer one.",
        )
    write_private(target, seal(held.document(), passphrase, PURPOSE, cost=PERSON_COST))


def _restore(layout: Layout, region: str, source: Path, passphrase_file: Path | None) -> WrappingKeys:
    """The escrow's keys beside those that are here: none is given up, and the newest is current."""
    from infra.pki.private_files import read_passphrase  # noqa: PLC0415
    from infra.pki.sealed import unseal  # noqa: PLC0415
    from infra.pki.wrapping_keys import (  # noqa: PLC0415
        PURPOSE,
        load_wrapping_keys,
        parsed,
        path_in,
        save_wrapping_keys,
    )

    try:
        document = source.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read", error.strerror or "unknown reason", "Name the escrow."
        ) from error
    restored = parsed(
        unseal(document, _passphrase(passphrase_file, confirm=False), PURPOSE, str(source)),
        str(source),
        region,
    )
    directory, own = layout.secrets / "pki", read_passphrase(layout.passphrase)
    if path_in(directory).exists():
        restored = load_wrapping_keys(directory, own, region).joined(restored)
    save_wrapping_keys(directory, own, restored)
    return restored


def _named(file: Path | None, action: Action) -> Path:
    if file is None:
        raise UsageError(
            "no file is named", f"`{action}` works on the escrow", "Add --file /where/the/escrow/is."
        )
    return file


def _passphrase(file: Path | None, *, confirm: bool) -> bytes:
    if file is None:
        text: str = typer.prompt(
            "Passphrase of the escrow", hide_input=True, confirmation_prompt=confirm, err=True
        )
        return text.encode()
    try:
        return file.read_bytes().rstrip(b"\n")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read", error.strerror or "unknown reason", "Correct --passphrase-file."
        ) from error


def _table(held: WrappingKeys) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("wrapping key", "made at", "state"):
        table.add_column(title)
    for key in held.keys:
        table.add_row(key.key_id, key.created_at, "current" if key == held.current else "old")
    return table
