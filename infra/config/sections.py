"""The sections of RegionConfig, one small model each. Unknown keys are errors everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.config.types import (
    Address,
    AETitle,
    Cidr,
    Cpu,
    DevicePath,
    Fqdn,
    HttpsUrl,
    ImageReference,
    InstitutionName,
    Label,
    NodePort,
    Port,
    Reason,
    Retention,
    SiteName,
    Size,
)
from infra.layout.pools import FailureDomain, Pool


class Section(BaseModel):
    """A part of the configuration: frozen, and closed against keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Institution(Section):
    """A legal owner of images. Records, packs and keys carry its name."""

    name: InstitutionName
    title: str = Field(min_length=1)
    """Its name for people, in any script."""


class Identity(Section):
    """What the region is called. Certificates, receipts and object keys carry these names."""

    name: Label
    domain: Fqdn
    epoch: int = Field(default=1, ge=1)
    """Raised by one after the centre was restored from a backup: old receipts stop counting for eviction."""
    institutions: list[Institution] = Field(min_length=1)


class Network(Section):
    """Networks of the data centre, and how a branch reaches it. They must not overlap."""

    pods: Cidr = "10.244.0.0/16"
    services: Cidr = "10.96.0.0/16"
    management: Cidr
    """The operator's network: ssh and the Kubernetes API. No branch traffic."""
    internet: Cidr = "100.64.0.0/16"
    """nspawn hosts only: links into the namespace that plays the internet."""
    gateway_address: Address
    """The address under which branches reach the centre's port 443 over the internet."""
    cni: Literal["bridge", "flannel", "cilium"] = "bridge"
    """bridge: one node. flannel: several nodes, enforces no NetworkPolicy. cilium: enforces them."""
    cni_manifest: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_.-]*\.yaml$")
    """cilium only: the file beside the stack file with its objects, rendered by the site from Cilium's chart."""


class PodSecurityException(Section):
    """A namespace whose pods cannot meet the restricted Pod Security level."""

    namespace: Label
    level: Literal["baseline", "privileged"]
    reason: Reason


class Kubernetes(Section):
    """The data centre's cluster; branches run the same version."""

    version: str = Field(pattern=r"^1\.[0-9]+\.[0-9]+$")
    control_plane_endpoint: Fqdn
    """The API server's name from the first init on; nodes resolve it to every control plane (ADR-0011)."""
    allow_cgroup_v1: bool = False
    """Let kubelet run on a cgroup v1 kernel and kubeadm pass its SystemVerification check."""
    restrict_oom_score: bool = False
    """Root of the hosts lacks CAP_SYS_RESOURCE: containerd must not lower a process's OOM score."""
    pod_security_exceptions: list[PodSecurityException] = []


ImageName = Literal[
    "ceph",
    "cloudnative-pg",
    "flannel",
    "gateway",
    "local-path-provisioner",
    "postgresql",
    "prometheus",
    "rook",
    "services",
    "step-ca",
]


class DirectoryImages(Section):
    """Images made on the operator's machine, handed to each node as files; no registry anywhere."""

    source: Literal["directory"]


class RegistryImages(Section):
    """Images of the site's own registry, by the digests that `./pacs images push` put there."""

    source: Literal["registry"]
    registry: str = Field(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._/-]+)?$")
    """Registry and path: registry.example.org/pacs"""
    pinned: dict[ImageName, ImageReference] = {}
    """Image name -> reference. Wins over the registry's own; the vendor's Ceph image goes here."""
    credentials: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Who may push: a file under the state directory's `secrets/` with the lines username= and password=."""


Images = Annotated[DirectoryImages | RegistryImages, Field(discriminator="source")]


class NspawnHostsConfig(Section):
    """Hosts made on this machine: systemd-nspawn containers with their own network namespace."""

    kind: Literal["nspawn"]
    bridge: str = Field(default="pacs0", pattern=r"^[a-z][a-z0-9]{1,14}$")
    """The management bridge; this machine holds the first address of network.management on it."""


class SshHostsConfig(Section):
    """Hosts that exist: machines with Debian, sshd and an operator account that may sudo."""

    kind: Literal["ssh"]
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    port: Port = 22


Hosts = Annotated[NspawnHostsConfig | SshHostsConfig, Field(discriminator="kind")]


class Disk(Section):
    """A disk of a host. An nspawn host gets a file of `size`; a real one names its `device`."""

    name: Label
    size: Size
    device: DevicePath | None = None


NodeRole = Literal["control-plane", "storage", "worker"]


class Node(Section):
    """A host of the data centre."""

    name: Label
    address: Address
    roles: list[NodeRole] = Field(min_length=1)
    memory: Size
    disks: list[Disk] = []
    """Disks for Ceph, whole and empty; each becomes one OSD."""


class Datacenter(Section):
    """The hosts of the data centre."""

    nodes: list[Node] = Field(min_length=1)

    @property
    def control_planes(self) -> list[Node]:
        """The nodes that carry the API and etcd; the first founds the cluster."""
        return [node for node in self.nodes if "control-plane" in node.roles]


class ReplicatedPool(Section):
    """`size` whole copies of each object, on different failure domains."""

    kind: Literal["replicated"]
    size: int = Field(ge=1, le=5)

    def layout(self) -> Pool:
        return Pool.replicated(self.size)


class ErasureCodedPool(Section):
    """`data` chunks and `coding` more; any `coding` of them may be lost."""

    kind: Literal["erasure"]
    data: int = Field(ge=2, le=16)
    coding: int = Field(ge=1, le=4)

    def layout(self) -> Pool:
        return Pool(self.data, self.coding)


CephPool = Annotated[ReplicatedPool | ErasureCodedPool, Field(discriminator="kind")]


class MutedHealthCheck(Section):
    """A Ceph health check that this region has decided to live with."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]+$")
    reason: Reason


class SecondCopy(Section):
    """An S3 endpoint elsewhere, for packs, WAL and base backups. Declared only: nothing is copied there yet."""

    endpoint: HttpsUrl
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    credentials: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Name of a file under the state directory's `secrets/` with the lines access_key= and secret_key=."""


class ObjectStoreConfig(Section):
    """Ceph: daemons, pools and the S3 gateway (RGW)."""

    monitors: Literal[1, 3, 5]
    managers: Literal[1, 2]
    gateways: int = Field(ge=1, le=16)
    failure_domain: FailureDomain = "host"
    metadata_pool: ReplicatedPool
    data_pool: CephPool
    bucket: str = Field(default="pacs-packs", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    encrypt_devices: bool = True
    """LUKS under every OSD. Needs the kernel's device-mapper."""
    allow_loop_devices: bool = False
    """Let OSDs lie on loop devices (files)."""
    allow_unsupported_ceph: bool = False
    """Run a Ceph release that is newer than Rook's own list."""
    osd_class_dir: str | None = Field(default=None, pattern=r"^/[A-Za-z0-9._/-]+$")
    """Where the image keeps RADOS classes, if its build has a relative path (Debian's has)."""
    ceph_exporter: bool = True
    """Whether the image has ceph-exporter (the vendor's has, Debian's has not)."""
    muted_health_checks: list[MutedHealthCheck] = []
    second_copy: SecondCopy | None = None


class Database(Section):
    """PostgreSQL by CloudNativePG: the index."""

    instances: int = Field(ge=1, le=5)
    synchronous_standbys: int = Field(ge=0, le=4)
    """Standbys that must have a row on disk before it counts as written (dataDurability: required)."""
    size: Size
    memory: Size
    cpu: Cpu


class Gateway(Section):
    """nginx: the one door of the data centre."""

    refused_sites: list[SiteName] = []
    """Sites that stay out whatever certificates they hold: a stolen or misused edge."""
    revoked_certificates: list[int] = []
    """Serial numbers of site certificates that the gateway refuses."""
    node_port: NodePort = 443
    replicas: int = Field(ge=1, le=16)
    memory: Size
    cpu: Cpu


class CallingPeer(Section):
    """A device that may open associations: its AE title and the network it calls from."""

    ae_title: AETitle
    network: Cidr


class Archive(Section):
    """The centre's archive service."""

    institution: InstitutionName
    """Owner of what is stored at the centre itself, not through a branch."""
    ae_title: AETitle
    dimse_node_port: NodePort = 911
    """DIMSE for systems inside the data centre. 104 and 11112 lie outside the node-port range."""
    calling: list[CallingPeer]
    """Who may call there, from which network; without an entry the port is not opened."""
    replicas: int = Field(ge=1, le=16)
    spool_size: Size
    """Segments and packs that are not yet in the object store."""
    memory: Size
    rendering_workers: int = Field(default=2, ge=1, le=64)
    """Images that are decoded at a time in each pod; each may take 512 MiB beside `memory`."""
    cpu: Cpu


class Observability(Section):
    """Prometheus and Alertmanager in the cluster."""

    retention: Retention = "P15D"
    size: Size
    memory: Size
    alert_webhook: HttpsUrl | None = None
    """Where Alertmanager posts alerts; without it they are shown, not sent."""


class Branch(Section):
    """A hospital's edge node. One entry here is a new branch."""

    site: SiteName
    """Host name of the edge, and its site in certificates, packs and receipts."""
    institution: InstitutionName
    title: str = Field(min_length=1)
    address: Address
    """Management address, for the first contact only."""
    lan: Cidr
    """The hospital network that modalities and workstations are on."""
    lan_address: Address
    """The edge's address on that network."""
    ae_title: AETitle
    dimse_port: Port = 11112
    calling: list[CallingPeer] = Field(min_length=1)
    retention: Retention = "P3M"
    daily_volume: Size
    """Images a day, for the check that the retention fits on the disk."""
    disks: list[Disk] = Field(min_length=1)
    """The one disk or volume for images, receipts and database; several disks are joined below it (RAID, LVM)."""
    memory: Size

    @property
    def name(self) -> str:
        """The name of the branch's host."""
        return self.site

    @property
    def disk(self) -> Disk:
        """Where everything of the branch lies."""
        return self.disks[0]
