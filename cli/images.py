"""`./pacs images`: the images of this release, and bringing them to the registry that the stack names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
from infra import pushed_images
from infra.pki.private_files import read_login
from toolchain import debian, images, install, manifests
from toolchain.progress import Progress
from toolchain.registry import Registry
from toolchain.registry_login import Credentials

if TYPE_CHECKING:
    from infra.config.region import RegionConfig
    from infra.config.sections import RegistryImages


class Action(StrEnum):
    """What to do with the images."""

    LIST = "list"
    PUSH = "push"


@dataclass(frozen=True)
class Line:
    """One image: its reference, its digest in the registry, and the bytes that were sent just now."""

    name: str
    reference: str
    digest: str | None
    sent: int = 0


Wanted = Annotated[
    Action,
    typer.Argument(help="`list` shows them; `push` makes what is missing and sends it to the registry."),
]


def show_or_push(action: Wanted = Action.LIST, stack: Stack = "local", as_json: Json = False) -> None:
    """List the images that the stack runs, or push them to its registry, so that `up` names them by digest."""
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    region = load_region(stack)
    layout = Layout(stack)
    lines = _push(region, layout) if action is Action.PUSH else _list(region, layout)
    console.emit({"stack": stack, "images": [asdict(line) for line in lines]}, _table(lines), as_json=as_json)


def _list(region: RegionConfig, layout: Layout) -> list[Line]:
    from infra.supplies import in_registry, needed_images  # noqa: PLC0415

    registry = getattr(region.images, "registry", None)
    digests = pushed_images.read(layout.state)
    lines = []
    for name in needed_images(region):
        archive, reference = images.archive(name), images.reference(name)
        if registry is not None:
            reference = in_registry(registry, reference)
            lines.append(Line(name, reference, digests.get(reference)))
        else:
            lines.append(Line(name, reference, archive.digest if archive else None))
    return lines


def _push(region: RegionConfig, layout: Layout) -> list[Line]:
    from infra.supplies import in_registry  # noqa: PLC0415

    source = region.images
    if source.source != "registry":
        raise UsageError(
            f"the stack {layout.stack} takes its images from files",
            f"images.source is {source.source}, so that there is no registry to push to",
            "Set images.source to registry and name one in images.registry.",
        )
    credentials = read_credentials(source, layout.secrets)
    layout.make()
    lines = []
    with alone(layout), console.progress() as progress, Registry(source.registry, credentials) as registry:
        digests = dict(pushed_images.read(layout.state))
        for name, archive in _made(region, progress).items():
            reference = in_registry(source.registry, archive.reference)
            item = f"image {name}"

            def report(have: int, total: int, item: str = item) -> None:
                progress.update(item, f"{have >> 20} of {total >> 20} MiB")

            progress.update(item, "asking the registry")
            pushed = registry.push(archive.path, reference.rpartition("/")[2], report)
            digests[reference] = pushed.digest
            # After each: a push that is cut off is known as far as it came.
            pushed_images.write(layout.state, digests)
            progress.done(item, f"{pushed.sent >> 20} MiB sent" if pushed.sent else "there already")
            lines.append(Line(name, reference, pushed.digest, pushed.sent))
        pushed_images.write(layout.state, {line.reference: str(line.digest) for line in lines})
    return lines


def _made(region: RegionConfig, progress: Progress) -> dict[str, images.Archive]:
    """The region's archives, made where the cache has none."""
    from infra.supplies import needed_images, needed_tools  # noqa: PLC0415

    debian.install(debian.listed("up"), progress)
    install.ensure(needed_tools(region), progress)
    manifests.ensure(progress)
    return images.ensure(needed_images(region), progress)


def read_credentials(source: RegistryImages, secrets: Path) -> Credentials | None:
    """Who pushes, from the file that the stack names; None where it names none. Raises UsageError."""
    if source.credentials is None:
        return None
    login = read_login(secrets / source.credentials, "registry", ("username", "password"), UsageError)
    return Credentials(*login)


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("image", "reference", "digest"):
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(line.name, line.reference, line.digest or "[yellow]not there[/yellow]")
    return table
