"""The restricted Pod Security level, as a check on a pod specification.

Follows the Kubernetes Pod Security Standards ("restricted", v1.36 for Linux pods): the controls that can be
decided from the specification alone. The API server enforces the same by the namespaces' labels; this finds
a breach before anything is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUME_KINDS = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)


def violations(pod: Mapping[str, Any]) -> list[str]:
    """What keeps a pod specification (`spec` of a Pod or of a template) from the restricted level."""
    found = [*_host_namespaces(pod), *_volumes(pod), *_sysctls(pod)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind) or []:
            found += [f"container {container['name']}: {fault}" for fault in _container(pod, container)]
    return found


def _host_namespaces(pod: Mapping[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield f"{key} is true"


def _volumes(pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in pod.get("volumes") or []:
        for kind in set(volume) - {"name"} - _VOLUME_KINDS:
            yield f"volume {volume['name']} is a {kind}"


def _sysctls(pod: Mapping[str, Any]) -> Iterator[str]:
    for sysctl in (pod.get("securityContext") or {}).get("sysctls") or []:
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']} is not a safe one"


def _container(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    shared = pod.get("securityContext") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", shared.get("runAsUser")) == 0:
        yield "runAsUser is 0"
    if own.get("procMount") not in (None, "Default"):
        yield f"procMount is {own['procMount']}"
    profile = own.get("seccompProfile", shared.get("seccompProfile")) or {}
    if profile.get("type") not in _SECCOMP:
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities do not drop ALL"
    for added in set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"capability {added} is added"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
