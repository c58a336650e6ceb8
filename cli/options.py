"""Options that several verbs share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from cli.errors import UsageError

STACK_NAME = re.compile(r"^[a-z][a-z0-9-]{0,40}$")


def _stack(name: str) -> str:
    if not STACK_NAME.match(name):
        raise UsageError(
            f"`{name}` is not the name of a stack",
            "names are lower-case letters, digits and hyphens, because they become paths",
            "See the files stacks/Pulumi.<stack>.yaml.",
        )
    return name


Stack = Annotated[
    str,
    typer.Option("--stack", callback=_stack, metavar="NAME", help="Which region: stacks/Pulumi.NAME.yaml."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
