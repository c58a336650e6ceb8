"""`./pacs keys`: the keys of encryption at rest - what there is, rotation, escrow and the way back (docs/keys.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cli import console
from cli.archive_pod import chore
from cli.engine.recovery import alone
from cli.engine.workspace import Layout
from cli.errors import StepError, UsageError
from cli.options import Json, Stack

if TYPE_CHECKING:
    from services.archive.encryption.wrapping_keys import WrappingKeys

LEAST_CHARACTERS = 16


class Action(StrEnum):
    """What to do with the keys."""

    STATUS = "status"
    ROTATE = "rotate"
    ROTATE_DATA = "rotate-data"
    REENCRYPT = "reencrypt"
    ESCROW = "escrow"
    RESTORE = "restore"


CHORES = {Action.STATUS: "keys", Action.ROTATE_DATA: "rotate-keys", Action.REENCRYPT: "reencrypt"}
"""What the archive itself does (`python -m services.archive <chore>`)."""

Wanted = Annotated[
    Action,
    typer.Argument(
        help="`status` lists them; `rotate` changes the wrapping key, in two runs with ./pacs up after each; "
        "`rotate-data` makes new data keys for what is written from now on; `reencrypt` brings everything stored "
        "under them; `escrow` seals a copy of the wrapping keys into --file; `restore` takes them back from it."
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
    """Show, rotate, escrow or restore the keys without which nothing at the centre can be read.

    Keep the escrow away from this machine and from the data centre, and its passphrase away from the escrow.
    """
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    region = load_region(stack).region.name
    layout = Layout(stack)
    archive: dict[str, Any] | None = None
    if action is Action.RESTORE:
        with alone(layout):
            held = _restore(layout, region, _named(file, action), passphrase_file)
        console.say("The wrapping keys are back; ./pacs up hands them to the archive.")
    elif action is Action.ROTATE:
        with alone(layout):
            held = _rotate(layout, region)
    else:
        held = _held(layout, region)
    if action is Action.ESCROW:
        _escrow(held, _named(file, action), passphrase_file)
        console.say(f"{file} opens with its passphrase alone. Rehearse it: docs/keys.md.")
    elif action in CHORES:
        archive = chore(layout, CHORES[action])
    entries = [{"id": key.key_id, "created_at": key.created_at} for key in held.keys]
    document = {"stack": stack, "wrapping_keys": entries, "archive": archive}
    console.emit(document, _table(held, archive), as_json=as_json)


def _rotate(layout: Layout, region: str) -> WrappingKeys:
    """The next step of a rotation: add a key, or give up the old ones once no data key needs them."""
    from infra.pki.private_files import read_passphrase  # noqa: PLC0415
    from infra.pki.wrapping_keys import save_wrapping_keys  # noqa: PLC0415
    from services.common.clock import rfc3339  # noqa: PLC0415

    held = _held(layout, region)
    if len(held.keys) == 1:
        rotated = held.rotated(rfc3339(datetime.now(UTC)))
        told = "A new wrapping key is current. Run ./pacs up, then ./pacs keys rotate again to give up the old one."
    else:
        waiting = waiting_keys(chore(layout, CHORES[Action.STATUS]), held.current.key_id)
        if waiting:
            raise StepError(
                "the old wrapping key is still needed",
                f"{len(waiting)} data keys are not wrapped by {held.current.key_id} alone: {', '.join(waiting[:5])}",
                "Run ./pacs up: the archive wraps them anew when it starts; then run this again.",
            )
        rotated = held.only_current()
        told = "The old wrapping key is given up. Run ./pacs up, and make a new escrow: ./pacs keys escrow."
    save_wrapping_keys(layout.secrets / "pki", read_passphrase(layout.passphrase), rotated)
    console.say(told)
    return rotated


def waiting_keys(archive: dict[str, Any], current: str) -> list[str]:
    """The data keys that something else than the current wrapping key still opens, or that it does not open yet."""
    return [
        f"{key['institution']}/{key['key_id']}"
        for key in archive["data_keys"]
        if key["wrapped_by"] != [current]
    ]


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


def _table(held: WrappingKeys, archive: dict[str, Any] | None) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("key", "made at", "of", "state"):
        table.add_column(title)
    for key in held.keys:
        state = "current" if key == held.current else "old: kept until the rotation is done"
        table.add_row(key.key_id, key.created_at, "region (wrapping key)", state)
    for one in (archive or {}).get("data_keys", []):
        wrapped = f"wrapped by {', '.join(one['wrapped_by'])}"
        table.add_row(one["key_id"], one["created_at"], one["institution"], wrapped)
    for name, value in (archive or {}).items():
        if name not in {"data_keys", "wrapping_keys"}:
            table.add_row(name, "", "", str(value))
    return table
