"""Host: a machine with systemd and sshd, made or looked at by `infra.hosts`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from infra.hosts.base import Disk, HostError, HostFacts, HostSpec, Link, provider_for
from infra.providers.inputs import as_declared

_SPEC = ("name", "kind", "address", "ssh_user", "ssh_port", "links", "disks", "state_dir")
KEEP_DATA = "PACS_KEEP_DATA"
"""Set to 1 in the environment of `down --keep-data`: removed hosts leave their disks."""


class HostResourceProvider(ResourceProvider):
    """Create and update bring the host to its specification; read looks at it; delete removes it."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["name"], _ensure(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_ensure(news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in _SPEC if olds.get(key) != news.get(key)]
        replaces = [key for key in changed if key in {"name", "kind"}]
        return DiffResult(bool(changed) or not olds.get("running"), replaces, delete_before_replace=True)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        spec = spec_of(props)
        facts = provider_for(spec.kind).inspect(spec)
        if facts is None:
            return ReadResult("", {})
        return ReadResult(id_, _outputs(props, facts))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        spec = spec_of(props)
        provider_for(spec.kind).remove(spec, keep_data=os.environ.get(KEEP_DATA) == "1")


class Host(Resource, module="pacs", name="Host"):
    """A host of the region. Its outputs are where ssh reaches it and which device each disk became."""

    name: pulumi.Output[str]
    address: pulumi.Output[str]
    ssh_user: pulumi.Output[str]
    ssh_port: pulumi.Output[int]
    ssh_key: pulumi.Output[str]
    host_key: pulumi.Output[str]
    devices: pulumi.Output[dict[str, str]]
    running: pulumi.Output[bool]

    def __init__(
        self, name: str, spec: HostSpec, *, optional: bool = False, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """`optional`: a host that does not answer is pending, not an error (a branch without its line)."""
        facts = dict.fromkeys(("ssh_key", "host_key", "devices", "running"))
        super().__init__(
            HostResourceProvider(), name, {**inputs_of(spec), "optional": optional, **facts}, opts
        )


def inputs_of(spec: HostSpec) -> dict[str, Any]:
    """The specification as resource inputs: plain data, without what is not set."""
    inputs = asdict(spec)
    inputs["state_dir"] = str(spec.state_dir)
    inputs["links"] = [
        {key: value for key, value in link.items() if value is not None} for link in inputs["links"]
    ]
    inputs["disks"] = list(inputs["disks"])
    return inputs


def spec_of(props: Mapping[str, Any]) -> HostSpec:
    """The specification from resource inputs."""
    props = as_declared(props)
    return HostSpec(
        name=props["name"],
        kind=props["kind"],
        address=props["address"],
        ssh_user=props["ssh_user"],
        ssh_port=props["ssh_port"],
        links=tuple(Link(**link) for link in props["links"]),
        disks=tuple(Disk(**disk) for disk in props["disks"]),
        state_dir=Path(props["state_dir"]),
    )


def _ensure(props: dict[str, Any]) -> dict[str, Any]:
    spec = spec_of(props)
    try:
        facts = provider_for(spec.kind).ensure(spec)
    except HostError:
        if not props.get("optional"):
            raise
        # Pending: the next run looks again, because `running` is false.
        facts = HostFacts(
            spec.name,
            spec.address,
            spec.ssh_user,
            spec.ssh_port,
            ssh_key="",
            host_key="",
            devices={},
            running=False,
        )
    return _outputs(props, facts)


def _outputs(props: Mapping[str, Any], facts: HostFacts) -> dict[str, Any]:
    kept = {key: props[key] for key in (*_SPEC, "optional") if key in props}
    return {
        **kept,
        "ssh_key": facts.ssh_key,
        "host_key": facts.host_key,
        "devices": facts.devices,
        "running": facts.running,
    }
