"""The health of each part, asked of the running system: never of configuration or of what `up` once saw."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cli.engine.workspace import Layout
from toolchain.errors import ToolchainError
from toolchain.install import installed

if TYPE_CHECKING:
    from infra.config.region import RegionConfig
    from infra.config.sections import Branch

State = Literal["healthy", "degraded", "pending", "down"]
_SECONDS = 5.0
_VERIFICATION = "1.2.840.10008.1.1"  # PS3.4 A.4


@dataclass(frozen=True)
class Health:
    """One part: what it is, how it is, and what was seen."""

    part: str
    state: State
    seen: str


def examine(region: RegionConfig, layout: Layout) -> list[Health]:
    """Hosts, cluster, storage, database, services, gateway, branches; each asked by itself."""
    cluster = _cluster(layout)
    return [*_hosts(region), *cluster, _gateway(region, layout.secrets / "pki/root.crt"), *_branches(region)]


def worst(parts: Iterable[Health]) -> State:
    """The state of the whole: a branch that is pending does not make the region unhealthy."""
    states = {part.state for part in parts}
    order: tuple[State, ...] = ("down", "degraded")
    return next((state for state in order if state in states), "healthy")


def _hosts(region: RegionConfig) -> list[Health]:
    found = []
    port = region.hosts.port if region.hosts.kind == "ssh" else 22
    addresses = [(node.name, node.address) for node in region.datacenter.nodes]
    for name, address in (*addresses, *((branch.site, branch.address) for branch in region.branches)):
        banner = _ssh_banner(address, port)
        found.append(
            Health(f"host {name}", "healthy" if banner else "down", banner or f"no ssh at {address}")
        )
    return found


def _ssh_banner(address: str, port: int) -> str | None:
    with contextlib.suppress(OSError), socket.create_connection((address, port), _SECONDS) as connection:
        connection.settimeout(_SECONDS)
        line = connection.recv(64)
        if line.startswith(b"SSH-"):
            return line.split(b"\r")[0].split(b"\n")[0].decode("ascii", "replace")
    return None


def _cluster(layout: Layout) -> list[Health]:
    if not layout.kubeconfig.is_file():
        return [Health("kubernetes", "down", f"{layout.kubeconfig} is not there yet")]
    nodes = _kubectl(layout, "get", "nodes")
    if nodes is None:
        return [Health("kubernetes", "down", "the API does not answer")]
    ready = [item["metadata"]["name"] for item in nodes if _condition(item, "Ready")]
    state: State = "healthy" if len(ready) == len(nodes) else "degraded"
    return [
        Health("kubernetes", state, f"{len(ready)} of {len(nodes)} nodes ready"),
        *_ceph(layout),
        *_databases(layout),
        *_deployments(layout),
    ]


def _ceph(layout: Layout) -> list[Health]:
    found = []
    for item in _kubectl(layout, "get", "cephclusters.ceph.rook.io", "--all-namespaces") or []:
        ceph = item.get("status", {}).get("ceph", {})
        health = str(ceph.get("health", "unknown"))
        states: dict[str, State] = {"HEALTH_OK": "healthy", "HEALTH_WARN": "degraded"}
        details = ", ".join(sorted(ceph.get("details", {})))
        found.append(Health("ceph", states.get(health, "down"), f"{health} {details}".strip()))
    for item in _kubectl(layout, "get", "cephobjectstores.ceph.rook.io", "--all-namespaces") or []:
        phase = str(item.get("status", {}).get("phase", "unknown"))
        found.append(Health("object store", "healthy" if phase == "Ready" else "down", phase))
    return found


def _databases(layout: Layout) -> list[Health]:
    found = []
    for item in _kubectl(layout, "get", "clusters.postgresql.cnpg.io", "--all-namespaces") or []:
        status = item.get("status", {})
        ready, wanted = int(status.get("readyInstances", 0)), int(status.get("instances", 0))
        state: State = "healthy" if wanted and ready == wanted else "degraded" if ready else "down"
        seen = f"{ready} of {wanted} ready, primary {status.get('currentPrimary', 'none')}"
        found.append(Health("postgresql", state, seen))
    return found


def _deployments(layout: Layout) -> list[Health]:
    found = []
    for namespace in ("pacs", "monitoring"):
        for item in _kubectl(layout, "get", "deployments,statefulsets", "--namespace", namespace) or []:
            wanted = int(item["spec"].get("replicas", 1))
            ready = int(item.get("status", {}).get("readyReplicas", 0))
            state: State = "healthy" if ready >= wanted else "degraded" if ready else "down"
            found.append(Health(item["metadata"]["name"], state, f"{ready} of {wanted} pods ready"))
    return found


def _gateway(region: RegionConfig, root: Path) -> Health:
    """A TLS handshake from this machine with a node's port: who answers must be the region's gateway."""
    address, port = region.datacenter.nodes[0].address, region.gateway.node_port
    if not root.is_file():
        return Health("gateway", "down", f"{root} is not there yet")
    context = ssl.create_default_context(cafile=root)
    try:
        with (
            socket.create_connection((address, port), _SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=region.gateway_name) as session,
        ):
            return Health("gateway", "healthy", f"{session.version()} at {address}:{port}")
    except OSError as error:
        return Health("gateway", "down", f"{address}:{port}: {error.strerror or error}")


def _branches(region: RegionConfig) -> list[Health]:
    """Each branch as its modalities see it: a C-ECHO on the hospital's network."""
    return [_echo(branch) for branch in region.branches]


def _echo(branch: Branch) -> Health:
    # Half a second that no other check needs.
    from pynetdicom import AE  # noqa: PLC0415

    from services.common.requestor import associate  # noqa: PLC0415

    name, where = f"branch {branch.site}", f"{branch.ae_title} at {branch.lan_address}:{branch.dimse_port}"
    caller = AE(ae_title=branch.calling[0].ae_title)
    caller.connection_timeout = caller.acse_timeout = caller.dimse_timeout = _SECONDS
    caller.add_requested_context(_VERIFICATION)
    association = associate(caller, branch.lan_address, branch.dimse_port, ae_title=branch.ae_title)
    if association.is_rejected:
        return Health(name, "degraded", f"{where} rejects {caller.ae_title}")
    if not association.is_established:
        return Health(name, "pending", f"{where} does not answer")
    status = association.send_c_echo()
    association.release()
    answered = getattr(status, "Status", None) == 0
    return Health(
        name, "healthy" if answered else "degraded", f"{where} {'answers' if answered else 'fails'} C-ECHO"
    )


def _kubectl(layout: Layout, *arguments: str) -> list[dict[str, Any]] | None:
    """The items that kubectl lists; None where it does not answer or the kind is unknown."""
    try:
        program = str(installed(["kubernetes"])["kubectl"])
    except ToolchainError:
        program = shutil.which("kubectl") or "kubectl"
    command = [
        program,
        f"--kubeconfig={layout.kubeconfig}",
        "--request-timeout=10s",
        *arguments,
        "--output=json",
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        items = json.loads(answer.stdout)["items"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return list(items)


def _condition(item: dict[str, Any], kind: str) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)
