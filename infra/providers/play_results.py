"""PlayResults: what a play handed back, as secret outputs.

A resource of its own, so that a preview in which the play must run again still knows the values (the
kubeconfig above all): outputs of a resource that is about to be updated are unknown in a preview, and an
unknown kubeconfig would hide every difference inside the cluster.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class ResultsMissingError(Exception):
    """The play ended without writing its results; the text names the file."""


class PlayResultsProvider(ResourceProvider):
    """Reads a results file (a JSON object of strings); it changes when the file's content does."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["path"], {"path": props["path"], "values": _read(Path(props["path"]))})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({"path": news["path"], "values": _read(Path(news["path"]))})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        path = Path(str(news["path"]))
        if olds.get("path") != news.get("path"):
            return DiffResult(True, ["path"])
        return DiffResult(path.is_file() and _read(path) != olds.get("values"))


class PlayResults(Resource, module="pacs", name="PlayResults"):
    """The values that a play wrote to its results file. All of them are secret."""

    values: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, path: Path, opts: pulumi.ResourceOptions) -> None:
        opts.additional_secret_outputs = ["values"]
        super().__init__(PlayResultsProvider(), name, {"path": str(path), "values": None}, opts)

    def value(self, key: str) -> pulumi.Output[str]:
        """One value; a secret, unknown until the play has run."""
        return self.values.apply(lambda values: pulumi.Output.secret(values[key]))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsMissingError(
            f"{path} is not there: the play that hands back its values has not written it. Run ./pacs up"
        ) from None
    if not isinstance(values, dict):
        raise ResultsMissingError(f"{path} does not hold a JSON object; remove it and run ./pacs up again")
    return values
