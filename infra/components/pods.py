"""The shape that every pod of ours has: restricted, no service-account token, its files read-only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

SERVICE_UID = 10001
"""User and group of our images (toolchain/images.py)."""

RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A container's security context: the restricted Pod Security level, and a read-only root beyond it."""


def pod_spec(
    containers: Sequence[Object], volumes: Sequence[Object], *, user: int = SERVICE_UID, **more: Any
) -> Object:
    """A pod that asks the Kubernetes API nothing and runs as `user`, who owns its volumes."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        **more,
    }


def container(name: str, image: str, pull_policy: str, mounts: Mapping[str, str], **more: Any) -> Object:
    """A restricted container. `mounts` is path -> volume name; a name that ends in `!` is writable."""
    volume_mounts = [
        {
            "name": volume.rstrip("!"),
            "mountPath": path,
            **({} if volume.endswith("!") else {"readOnly": True}),
        }
        for path, volume in {**mounts, "/tmp": "tmp!"}.items()  # noqa: S108 - a volume of the pod's own
    ]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "securityContext": dict(RESTRICTED),
        "volumeMounts": volume_mounts,
        **more,
    }


def probe(path: str, port: int, *, scheme: str = "HTTP", period: int = 10, failures: int = 3) -> Object:
    """An HTTP probe."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": scheme},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def resources(cpu: str, memory: str, limit: str | None = None) -> Object:
    """Requests, and a limit for memory only: a limit for processor time throttles what could run.

    `limit` where it lies above what is asked for, since it is seldom used.
    """
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit or memory}}


def labels(name: str, *, part_of: str = "pacs") -> dict[str, str]:
    """Labels that select the pods of one service."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": part_of}


def digest_annotation(*contents: object) -> dict[str, str]:
    """An annotation that changes with what the pod mounts, so that a change rolls it. Not of private keys."""
    text = json.dumps(contents, sort_keys=True, default=str)
    return {"pacs/content": hashlib.sha256(text.encode()).hexdigest()[:16]}


def spread(name: str) -> list[Object]:
    """Replicas on different nodes where there are several."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels(name)},
        }
    ]
