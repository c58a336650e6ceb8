"""The pods of a local host's cluster, as the cluster lists them, and their violent end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.region.conftest import on_host

_KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
_READY_SECONDS = 420.0


@dataclass(frozen=True)
class Pod:
    """A running pod. `is_static`: the kubelet's own, from a file of the host, and not the API's to delete."""

    host: str
    namespace: str
    name: str
    is_static: bool
    is_ready: bool
    containers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.host} {self.namespace}/{self.name}"

    def kill(self) -> None:
        """SIGKILL every process of its containers; what a controller owns is deleted too, so that another takes over."""
        tasks = " ".join(self.containers)
        kill = f"for task in {tasks}; do ctr --namespace k8s.io tasks kill --signal SIGKILL $task; done"
        delete = f"{_KUBECTL} --namespace {self.namespace} delete pod {self.name} --now --wait=false"
        on_host(self.host, kill if self.is_static else f"{kill}; {delete}")


def pods(host: str, *namespaces: str) -> list[Pod]:
    """What runs on the host now, in these namespaces (none: in all); chores of a Job come and go and are left out."""
    # Without its API server, which is a pod too, a cluster lists none.
    ask = f"{_KUBECTL} get pods --all-namespaces --output json 2>/dev/null || true"
    listed: dict[str, Any] = json.loads(on_host(host, ask) or '{"items": []}')
    found = [_pod(host, item) for item in listed["items"] if _is_service(item)]
    return sorted(
        (pod for pod in found if not namespaces or pod.namespace in namespaces),
        key=lambda pod: (pod.namespace, pod.name),
    )


def wait_until_back(before: Sequence[Pod], killed: Pod) -> None:
    """Wait until as many pods as before run on the host, all ready, and none with a container that was killed."""
    namespaces = {pod.namespace for pod in before}
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        now = pods(killed.host, *namespaces)
        late = [
            pod.name
            for pod in now
            if not pod.is_ready or not set(killed.containers).isdisjoint(pod.containers)
        ]
        if len(now) >= len(before) and not late:
            return
        assert time.monotonic() < deadline, f"{len(now)} of {len(before)} pods, not ready: {late}"
        time.sleep(1)


def _is_service(item: dict[str, Any]) -> bool:
    owners = {owner["kind"] for owner in item["metadata"].get("ownerReferences", [])}
    return item["status"].get("phase") == "Running" and "Job" not in owners


def _pod(host: str, item: dict[str, Any]) -> Pod:
    metadata, statuses = item["metadata"], item["status"].get("containerStatuses", [])
    return Pod(
        host=host,
        namespace=metadata["namespace"],
        name=metadata["name"],
        is_static="kubernetes.io/config.mirror" in metadata.get("annotations", {}),
        is_ready=bool(statuses) and all(status["ready"] for status in statuses),
        containers=tuple(
            status["containerID"].partition("://")[2] for status in statuses if status.get("containerID")
        ),
    )
