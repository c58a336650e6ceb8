"""Figures of the hosts themselves: prometheus-node-exporter on every node of the data centre."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import naming
from infra.components.pods import Object, container, pod_spec, resources
from infra.components.workloads import daemon_set
from infra.supplies import Supplies

PORT = 9100

# Nobody: may look at mount points and the kernel's counters, and opens no file of a service.
_USER = 65534

COLLECTORS = (
    "--path.rootfs=/host",
    "--path.procfs=/host/proc",
    "--path.sysfs=/host/sys",
    "--collector.disable-defaults",
    "--collector.cpu",
    "--collector.diskstats",
    "--collector.filesystem",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|run|sys|var/lib/(containerd|kubelet)/.+)($|/)",
    "--collector.loadavg",
    "--collector.meminfo",
    "--collector.netdev",
    "--collector.systemd",
    r"--collector.systemd.unit-include=(containerd|kubelet)\.service",
    "--collector.textfile",
    "--collector.textfile.directory=/host/var/lib/node-metrics",
    "--collector.uname",
)
"""What is asked of a host, at the centre and (roles/edge_node/vars) at a branch."""


@dataclass(frozen=True)
class NodeMetricsArgs:
    """The images."""

    supplies: Supplies


class NodeMetrics(pulumi.ComponentResource):
    """A DaemonSet in a namespace of its own, because it must see the host and all else must not."""

    def __init__(self, name: str, args: NodeMetricsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:observability:NodeMetrics", name, {}, opts)
        daemon_set(
            naming.NODE_EXPORTER,
            naming.NODE_METRICS,
            node_exporter_pod(args.supplies),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


def node_exporter_pod(supplies: Supplies) -> Object:
    """node-exporter on the host's network, listening on the management address alone."""
    main = container(
        "node-exporter",
        supplies.images["prometheus"],
        supplies.pull_policy,
        {"/host": "host"},
        command=["/usr/bin/prometheus-node-exporter"],
        args=[*COLLECTORS, f"--web.listen-address=$(HOST_ADDRESS):{PORT}"],
        env=[
            {"name": "HOST_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            # systemd answers everybody about the state of its units on the system bus.
            {"name": "DBUS_SYSTEM_BUS_ADDRESS", "value": "unix:path=/host/run/dbus/system_bus_socket"},
        ],
        resources=resources("20m", "64Mi"),
    )
    (mount,) = [mount for mount in main["volumeMounts"] if mount["name"] == "host"]
    mount["mountPropagation"] = "HostToContainer"  # a disk that is mounted later shows too
    return pod_spec(
        [main],
        [{"name": "host", "hostPath": {"path": "/", "type": "Directory"}}],
        user=_USER,
        hostNetwork=True,
        tolerations=[{"operator": "Exists"}],
    )
