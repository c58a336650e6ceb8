"""What the program takes from the operator's machine: the state directory, programs, images and manifests.

`from_toolchain` is the one place that knows the toolchain; tests hand in their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.config.region import RegionConfig
from infra.config.sections import RegistryImages

_IMAGES = (
    "ceph",
    "cloudnative-pg",
    "gateway",
    "local-path-provisioner",
    "postgresql",
    "prometheus",
    "services",
    "step-ca",
)
_NODE_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubeadm", "kubectl", "kubelet")


@dataclass(frozen=True)
class ImageArchive:
    """An image as a file: its name, its manifest digest, and the OCI archive on this machine."""

    reference: str
    digest: str
    archive: str


@dataclass(frozen=True)
class Versions:
    """Versions that a role must know beside RegionConfig's."""

    etcd: str
    coredns: str


@dataclass(frozen=True)
class Supplies:
    """`images`: name -> reference. `archives`: what nodes import, empty where a registry serves them.

    `programs`: name -> path on this machine. `manifest(tool, file)`: the path of a vendor's manifest.
    """

    state_dir: Path
    images: Mapping[str, str]
    archives: Sequence[ImageArchive]
    programs: Mapping[str, str]
    versions: Versions
    manifest: Callable[[str, str], Path]
    pull_policy: str

    @property
    def secrets_dir(self) -> Path:
        """Keys and passphrases of the stack, 0700."""
        return self.state_dir / "secrets"


def image_references(region: RegionConfig, built: Mapping[str, str]) -> dict[str, str]:
    """Name -> reference. A registry serves our images under their content tag, unless a name is pinned."""
    references = {**built, "rook": built["ceph"]}
    if isinstance(region.images, RegistryImages):
        registry = region.images.registry
        references = {
            name: f"{registry}/{reference.rpartition('/')[2]}" for name, reference in references.items()
        }
        references |= {str(name): reference for name, reference in region.images.pinned.items()}
    return references


def from_toolchain(region: RegionConfig, stack: str) -> Supplies:
    """The supplies in the toolchain's cache, built where it has none. Raises ToolchainError."""
    from toolchain import images, install, manifests, versions  # noqa: PLC0415 - tests run without it
    from toolchain.paths import state_directory  # noqa: PLC0415

    manifests.ensure()
    pinned = versions.versions().tools
    tools = install.ensure(["containerd", "kubernetes"])
    by_files = region.images.source == "directory"
    archives = images.ensure() if by_files else {}
    return Supplies(
        state_dir=state_directory(stack),
        images=image_references(region, {name: images.reference(name) for name in _IMAGES}),
        archives=[ImageArchive(a.reference, a.digest, str(a.path)) for _, a in sorted(archives.items())],
        programs={name: str(tools[name]) for name in _NODE_PROGRAMS},
        versions=Versions(etcd=f"{pinned['etcd'].version}-0", coredns=pinned["coredns"].version),
        manifest=manifests.path,
        pull_policy="Never" if by_files else "IfNotPresent",
    )
