"""What the program takes from the operator's machine: the state directory, programs, images and manifests.

`from_toolchain` is the one place that knows the toolchain; tests hand in their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import pushed_images
from infra.config.region import STACKS, RegionConfig
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
_KUBERNETES_IMAGES = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "pause",
)
_NODE_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubeadm", "kubectl", "kubelet")


class SuppliesError(Exception):
    """Something that the region needs is not on this machine: what, why, and the action that helps."""

    exit_code = 2

    def __init__(self, what: str, why: str, action: str) -> None:
        super().__init__(f"{what}: {why}. {action}")
        self.what, self.why, self.action = what, why, action


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
    pause: str


@dataclass(frozen=True)
class Supplies:
    """`images`: name -> reference. `archives`: what nodes import, empty where a registry serves them.

    `programs`: name -> path on this machine. `manifest(tool, file)`: the path of a vendor's manifest.
    `network_manifest`: the objects of a pod network that the site has chosen.
    """

    state_dir: Path
    images: Mapping[str, str]
    archives: Sequence[ImageArchive]
    programs: Mapping[str, str]
    versions: Versions
    manifest: Callable[[str, str], Path]
    pull_policy: str
    network_manifest: Path | None = None

    @property
    def secrets_dir(self) -> Path:
        """Keys and passphrases of the stack, 0700."""
        return self.state_dir / "secrets"


def our_images(region: RegionConfig) -> list[str]:
    """The images of ours that the region's manifests name."""
    return [*_IMAGES, *(["flannel"] if region.network.cni == "flannel" else [])]


def needed_images(region: RegionConfig) -> list[str]:
    """Every image that must be made for the region, kubeadm's too; less those of which it names another's."""
    pinned = set(region.images.pinned) if isinstance(region.images, RegistryImages) else set()
    # Our Ceph image is Rook's too.
    unneeded = pinned - ({"ceph"} if "rook" not in pinned else set())
    return [name for name in (*our_images(region), *_KUBERNETES_IMAGES) if name not in unneeded]


def needed_tools(region: RegionConfig) -> list[str]:
    """The tool groups that the region's programs and images are made of."""
    from toolchain.versions import versions  # noqa: PLC0415

    return [*versions().usual, *(["flannel"] if region.network.cni == "flannel" else [])]


def in_registry(registry: str, reference: str) -> str:
    """Where an image lies in the site's registry: one repository a name, whatever built it."""
    return f"{registry}/{reference.rpartition('/')[2]}"


def image_references(
    region: RegionConfig, built: Mapping[str, str], digests: Mapping[str, str]
) -> dict[str, str]:
    """Name -> reference. A registry serves our images by their digest, unless a name is pinned.

    `digests`: what was pushed, by reference in the registry (`infra.pushed_images`).
    """
    references = {**built, "rook": built["ceph"]}
    if isinstance(region.images, RegistryImages):
        registry = region.images.registry
        there = {name: in_registry(registry, reference) for name, reference in references.items()}
        # The tag stays for people and for operators that read a version in it; the digest decides.
        references = {
            name: f"{reference}@{digests[reference]}" if reference in digests else reference
            for name, reference in there.items()
        }
        references |= {str(name): reference for name, reference in region.images.pinned.items()}
    return references


def from_toolchain(region: RegionConfig, stack: str) -> Supplies:
    """The supplies in the toolchain's cache, built where it has none. Raises ToolchainError or SuppliesError."""
    from toolchain import images, install, manifests, versions  # noqa: PLC0415 - tests run without it
    from toolchain.paths import state_directory  # noqa: PLC0415

    network = network_manifest(region)
    built = {name: images.reference(name) for name in our_images(region)}
    digests = pushed_images.read(state_directory(stack))
    _refuse_unpushed(region, digests, stack)
    manifests.ensure()
    pinned = versions.versions().tools
    tools = install.ensure(["containerd", "kubernetes"])
    by_files = region.images.source == "directory"
    archives = images.ensure(needed_images(region)) if by_files else {}
    return Supplies(
        state_dir=state_directory(stack),
        images=image_references(region, built, digests),
        archives=[ImageArchive(a.reference, a.digest, str(a.path)) for _, a in sorted(archives.items())],
        programs={name: str(tools[name]) for name in _NODE_PROGRAMS},
        versions=Versions(
            etcd=f"{pinned['etcd'].version}-0",
            coredns=pinned["coredns"].version,
            pause=pinned["pause"].version,
        ),
        manifest=manifests.path,
        pull_policy="Never" if by_files else "IfNotPresent",
        network_manifest=network,
    )


def network_manifest(region: RegionConfig) -> Path | None:
    """The file with the objects of the site's own pod network. Raises SuppliesError where it is not there."""
    if region.network.cni_manifest is None:
        return None
    path = STACKS / region.network.cni_manifest
    if not path.is_file():
        raise SuppliesError(
            "the pod network's objects are not there",
            f"network.cni_manifest names {path}",
            "Render Cilium's chart into it (stacks/README.md says how), or choose network.cni flannel, "
            "which enforces no NetworkPolicy.",
        )
    return path


def _refuse_unpushed(region: RegionConfig, digests: Mapping[str, str], stack: str) -> None:
    from toolchain import images  # noqa: PLC0415

    if not isinstance(region.images, RegistryImages):
        return
    registry = region.images.registry
    absent = [
        name for name in needed_images(region) if in_registry(registry, images.reference(name)) not in digests
    ]
    if absent:
        raise SuppliesError(
            f"{len(absent)} images of this release were not pushed to {registry}",
            f"no digest is known of {', '.join(absent)}",
            f"Run ./pacs images push --stack {stack}.",
        )
