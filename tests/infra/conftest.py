"""A recording engine: the whole program runs against it, and every registration can be looked at."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, rpc

from infra.config.region import RegionConfig, load_region
from infra.credentials import Credentials, ensure_credentials
from infra.pki.private_files import write_private
from infra.supplies import ImageArchive, Supplies, Versions, image_references
from infra.topology import build

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STACKS = ("local", "yanan")

GO_MODULES = Path(os.environ.get("PACS_CACHE_DIR", "/var/cache/pacs")) / "go/mod"
RELEASED = {
    ("rook", "crds.yaml"): "github.com/rook/rook@v1.17.2/deploy/examples/crds.yaml",
    ("rook", "common.yaml"): "github.com/rook/rook@v1.17.2/deploy/examples/common.yaml",
    ("rook", "operator.yaml"): "github.com/rook/rook@v1.17.2/deploy/examples/operator.yaml",
    (
        "cloudnative_pg",
        "cnpg.yaml",
    ): "github.com/cloudnative-pg/cloudnative-pg@v1.30.0/releases/cnpg-1.30.0.yaml",
    ("local_path_provisioner", "local-path-storage.yaml"): (
        "github.com/rancher/local-path-provisioner@v0.0.30/deploy/local-path-storage.yaml"
    ),
}
"""Where the released manifests lie once the toolchain has been there. The tests use shortened copies."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Give each test, its fixtures of every scope included, the current event loop that Pulumi takes for granted.

    An `asyncio.run` of an earlier test, wherever it lives, leaves none behind.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return (yield)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@dataclass(frozen=True)
class Registration:
    """One resource as the engine was told of it; a secret value is `{special key: ..., "value": ...}`."""

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any]
    provider: str
    deleted_with: str
    dependencies: tuple[str, ...]


@dataclass
class Recording:
    """Everything that a run registered, in order."""

    registrations: list[Registration] = field(default_factory=list)

    def of_type(self, suffix: str) -> list[Registration]:
        return [entry for entry in self.registrations if entry.type.endswith(suffix)]

    def one(self, suffix: str, name: str) -> Registration:
        (found,) = [entry for entry in self.of_type(suffix) if entry.name == name]
        return found

    def kubernetes(self) -> list[Registration]:
        return [entry for entry in self.registrations if entry.type.startswith("kubernetes:")]


class RecordingMonitor(mocks.MockMonitor):
    """Pulumi's mock monitor, which keeps each request before it answers it."""

    def __init__(self, recording: Recording, *, preview: bool) -> None:
        super().__init__(_Answers(preview))
        self.recording = recording

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":
            return response
        self.recording.registrations.append(
            Registration(
                urn=response.urn,
                type=request.type,
                name=request.name,
                inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
                provider=request.provider,
                deleted_with=request.deletedWith,
                dependencies=tuple(request.dependencies),
            )
        )
        return response


class _Answers(mocks.Mocks):
    """Outputs that real providers would compute; in a preview they stay unknown."""

    def __init__(self, preview: bool) -> None:
        self.preview = preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = {key: value for key, value in args.inputs.items() if value is not None}
        if not self.preview:
            state |= _computed(args)
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(
            f"the program asked a provider ({args.token}); a preview without a cluster could not"
        )


def _computed(args: mocks.MockResourceArgs) -> dict[str, Any]:
    if args.typ.endswith(":Host"):
        devices = {disk["name"]: f"/dev/loop{index}" for index, disk in enumerate(args.inputs["disks"])}
        return {
            "ssh_key": "/state/secrets/ssh_key",
            "host_key": "ssh-ed25519 AAAA",
            "devices": devices,
            "running": True,
        }
    if args.typ.endswith(":AnsiblePlay"):
        return {"status": "applied", "drift": []}
    if args.typ.endswith(":PlayResults"):
        return {"values": {"kubeconfig": "apiVersion: v1\nkind: Config\n# -----BEGIN PRIVATE KEY-----"}}
    return {}


def manifest(tool: str, file: str) -> Path:
    return Path(__file__).parent / "manifests" / f"{tool}-{file}"


def supplies_for(region: RegionConfig, state_dir: Path) -> Supplies:
    names = (
        "ceph",
        "cloudnative-pg",
        "gateway",
        "local-path-provisioner",
        "postgresql",
        "prometheus",
        "services",
    )
    built = {name: f"pacs.local/{name}:0123456789ab" for name in (*names, "step-ca")}
    by_files = region.images.source == "directory"
    archives = [
        ImageArchive(reference, "sha256:" + "0" * 64, f"/cache/{name}.tar")
        for name, reference in built.items()
    ]
    return Supplies(
        state_dir=state_dir,
        images=image_references(region, built, {}),
        archives=archives if by_files else [],
        programs={"kubeadm": "/cache/kubeadm", "kubelet": "/cache/kubelet"},
        versions=Versions(etcd="3.6.16-0", coredns="1.14.7", pause="3.10.2"),
        manifest=manifest,
        pull_policy="Never" if by_files else "IfNotPresent",
    )


def give_second_copy(region: RegionConfig, supplies: Supplies) -> None:
    """The access key that an operator of a region with a second copy writes beside its other secrets."""
    copy = region.object_store.second_copy
    if copy is not None:
        write_private(
            supplies.secrets_dir / copy.credentials, b"access_key=AKSECOND\nsecret_key=of-the-second-site\n"
        )


def run(
    region: RegionConfig, supplies: Supplies, credentials: Credentials, *, preview: bool = False
) -> Recording:
    """Run the program against the recording engine; a failed output or resource raises."""
    recording = Recording()
    monitor = RecordingMonitor(recording, preview=preview)
    mocks.set_mocks(monitor.mocks, project="regional-pacs", stack="test", preview=preview, monitor=monitor)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def inside() -> None:
        build(region, supplies, credentials)

    inside()
    return recording


@dataclass(frozen=True)
class Built:
    """A real stack file, built."""

    stack: str
    region: RegionConfig
    credentials: Credentials
    applied: Recording
    preview: Recording


@functools.cache
def _build_stack(stack: str, state_dir: Path) -> Built:
    region = load_region(stack)
    supplies = supplies_for(region, state_dir)
    give_second_copy(region, supplies)
    credentials = ensure_credentials(region, supplies, NOW)
    applied = run(region, supplies, credentials)
    return Built(stack, region, credentials, applied, run(region, supplies, credentials, preview=True))


@pytest.fixture(params=STACKS, scope="session")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Each real stack, built once a session."""
    state_dir = tmp_path_factory.getbasetemp() / f"state-{request.param}"
    state_dir.mkdir(exist_ok=True)
    return _build_stack(request.param, state_dir)


def plain_values(value: Any) -> Iterator[str]:
    """Every text in a registration's inputs that is not inside a secret."""
    if isinstance(value, Mapping):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return
        for key, inner in value.items():
            yield str(key)
            yield from plain_values(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from plain_values(inner)
    elif isinstance(value, str):
        yield value


def revealed(value: Any) -> Any:
    """The inputs with secrets opened, for tests that look inside."""
    if isinstance(value, Mapping):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return revealed(value["value"])
        return {key: revealed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [revealed(inner) for inner in value]
    return value


def config_map_data(built: Built, name: str) -> dict[str, str]:
    """What is in the ConfigMap `name`, as it was applied."""
    maps = [revealed(entry.inputs) for entry in built.applied.of_type("core/v1:ConfigMap")]
    (data,) = [found["data"] for found in maps if found["metadata"]["name"] == name]
    return dict(data)
