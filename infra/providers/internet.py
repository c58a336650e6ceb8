"""Internet: the relay of the local stack, between the branches' lines and the centre's gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from infra.hosts import internet

_INPUTS = ("public", "centre", "state_dir")


class InternetProvider(ResourceProvider):
    """Starts and ends the relay; a relay that died is started again by the next run."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("internet", _start(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        internet.stop(Path(news["state_dir"]))
        return UpdateResult(_start(news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(any(olds.get(key) != news[key] for key in _INPUTS) or not olds.get("running"))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, {**props, "running": internet.is_running(Path(props["state_dir"]))})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        internet.stop(Path(props["state_dir"]))


class Internet(Resource, module="pacs", name="Internet"):
    """A relay that listens on `public` (address:port) inside the internet and carries bytes to `centre`."""

    running: pulumi.Output[bool]

    def __init__(
        self, name: str, public: str, centre: str, state_dir: Path, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {"public": public, "centre": centre, "state_dir": str(state_dir), "running": None}
        super().__init__(InternetProvider(), name, props, opts)


def _start(props: dict[str, Any]) -> dict[str, Any]:
    internet.start(Path(props["state_dir"]), props["public"], props["centre"])
    return {**{key: props[key] for key in _INPUTS}, "running": True}
