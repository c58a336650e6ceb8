"""Prometheus and Alertmanager in the cluster, with the rules that dashboards/ generates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml

from infra import naming
from infra.components.node_metrics import PORT as NODE_EXPORTER_PORT
from infra.components.pods import Object, container, digest_annotation, pod_spec, probe, resources
from infra.components.workloads import config_map, service, stateful_set
from infra.config.region import RegionConfig
from infra.credentials import Credentials
from infra.layout.sizing import retention_days, size_bytes
from infra.supplies import Supplies

_PROMETHEUS, _ALERTMANAGER = 9090, 9093

_ARCHIVE_HOST = naming.service_host(naming.ARCHIVE, naming.PACS)

# A branch keeps for remote write what its write-ahead log holds: some two hours, at most three.
_LATE = "3h"

# Samples may fill this part of the volume; the rest is for the write-ahead log.
_SAMPLES_SHARE = 0.85


@dataclass(frozen=True)
class ObservabilityArgs:
    """The region, its credentials (for the root that targets are checked against), images, rule files by name."""

    region: RegionConfig
    credentials: Credentials
    supplies: Supplies
    rules: Mapping[str, str]


class Observability(pulumi.ComponentResource):
    """Prometheus (targets found by DNS: it needs no right on the Kubernetes API) and Alertmanager."""

    def __init__(
        self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pacs:observability:Observability", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        region, supplies = args.region, args.supplies
        files = {
            "prometheus.yaml": _yaml(prometheus_configuration(region)),
            "root.crt": args.credentials.root,
        }
        routes = {"alertmanager.yaml": _yaml(alertmanager_configuration(region))}
        config_map("prometheus-configuration", naming.MONITORING, files, child)
        config_map("prometheus-rules", naming.MONITORING, args.rules, child)
        config_map("alertmanager-configuration", naming.MONITORING, routes, child)
        service(naming.PROMETHEUS, naming.MONITORING, {"http": _PROMETHEUS}, opts=child)
        service(naming.ALERTMANAGER, naming.MONITORING, {"http": _ALERTMANAGER}, opts=child)
        service(
            "database-pods",
            naming.PACS,
            {"metrics": 9187},
            selects={"cnpg.io/cluster": naming.DATABASE_CLUSTER, "cnpg.io/podRole": "instance"},
            headless=True,
            opts=child,
        )
        stateful_set(
            naming.PROMETHEUS,
            naming.MONITORING,
            prometheus_pod(region, supplies),
            replicas=1,
            claims={"samples": region.observability.size},
            annotations=digest_annotation(files, dict(args.rules)),
            opts=child,
        )
        stateful_set(
            naming.ALERTMANAGER,
            naming.MONITORING,
            alertmanager_pod(supplies),
            replicas=1,
            claims={"state": "1Gi"},
            annotations=digest_annotation(routes),
            opts=child,
        )
        self.register_outputs({})


def prometheus_configuration(region: RegionConfig) -> Object:
    """prometheus.yaml: who is scraped, which rules hold, where alerts go."""
    return {
        "global": {
            "scrape_interval": "15s",
            "evaluation_interval": "15s",
            "external_labels": {"region": region.region.name},
        },
        # What a branch measured while its line was cut comes late, and is still wanted.
        "storage": {"tsdb": {"out_of_order_time_window": _LATE}},
        "rule_files": ["/etc/prometheus-rules/*.yml", "/etc/prometheus-rules/*.yaml"],
        "alerting": {
            "alertmanagers": [
                {
                    "static_configs": [
                        {"targets": [_address(naming.ALERTMANAGER, naming.MONITORING, _ALERTMANAGER)]}
                    ]
                }
            ]
        },
        "scrape_configs": [
            _discovered("archive", "archive-pods", naming.PACS, 8090, **_https(_ARCHIVE_HOST)),
            _discovered("gateway", "gateway-pods", naming.PACS, 9145),
            _discovered("database", "database-pods", naming.PACS, 9187),
            _fixed("ceph", _address("rook-ceph-mgr", naming.CEPH, 9283), honor_labels=True),
            _hosts(region),
            _fixed("prometheus", f"localhost:{_PROMETHEUS}"),
            _fixed("alertmanager", _address(naming.ALERTMANAGER, naming.MONITORING, _ALERTMANAGER)),
        ],
    }


def alertmanager_configuration(region: RegionConfig) -> Object:
    """alertmanager.yaml: one receiver; without a webhook alerts are shown, not sent."""
    webhook = region.observability.alert_webhook
    receiver: Object = {"name": "duty"}
    if webhook:
        receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
    return {
        "route": {
            "receiver": "duty",
            "group_by": ["alertname", "site"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
        },
        "receivers": [receiver],
    }


def prometheus_pod(region: RegionConfig, supplies: Supplies) -> Object:
    """Prometheus; branches remote-write into it through the gateway."""
    samples = int(size_bytes(region.observability.size) * _SAMPLES_SHARE)
    main = container(
        "prometheus",
        supplies.images["prometheus"],
        supplies.pull_policy,
        {
            "/etc/prometheus": "configuration",
            "/etc/prometheus-rules": "rules",
            "/var/lib/prometheus": "samples!",
        },
        command=["/usr/bin/prometheus"],
        args=[
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/var/lib/prometheus",
            f"--storage.tsdb.retention.time={retention_days(region.observability.retention)}d",
            f"--storage.tsdb.retention.size={samples >> 20}MB",
            "--web.enable-remote-write-receiver",
        ],
        ports=[{"name": "http", "containerPort": _PROMETHEUS}],
        resources=resources("100m", region.observability.memory),
        startupProbe=probe("/-/ready", _PROMETHEUS, period=5, failures=60),
        livenessProbe=probe("/-/healthy", _PROMETHEUS),
        readinessProbe=probe("/-/ready", _PROMETHEUS, period=5),
    )
    volumes: list[Any] = [
        {"name": "configuration", "configMap": {"name": "prometheus-configuration"}},
        {"name": "rules", "configMap": {"name": "prometheus-rules"}},
    ]
    return pod_spec([main], volumes)


def alertmanager_pod(supplies: Supplies) -> Object:
    """Alertmanager, alone: no gossip port."""
    main = container(
        "alertmanager",
        supplies.images["prometheus"],
        supplies.pull_policy,
        {"/etc/alertmanager": "configuration", "/var/lib/alertmanager": "state!"},
        command=["/usr/bin/prometheus-alertmanager"],
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yaml",
            "--storage.path=/var/lib/alertmanager",
            "--cluster.listen-address=",
        ],
        ports=[{"name": "http", "containerPort": _ALERTMANAGER}],
        resources=resources("10m", "128Mi"),
        livenessProbe=probe("/-/healthy", _ALERTMANAGER),
        readinessProbe=probe("/-/ready", _ALERTMANAGER, period=5),
    )
    return pod_spec([main], [{"name": "configuration", "configMap": {"name": "alertmanager-configuration"}}])


def read_rules(directory: Path) -> dict[str, str]:
    """Generated rule files by name: every YAML file under the directory that has `groups` at its top."""
    found = {}
    for path in sorted([*directory.rglob("*.yml"), *directory.rglob("*.yaml")]):
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        if isinstance(document, Mapping) and "groups" in document:
            found[path.name] = text
    return found


def _yaml(document: Object) -> str:
    # Through JSON: YAML would write what is used twice as an alias.
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)


def _address(name: str, namespace: str, port: int) -> str:
    return f"{naming.service_host(name, namespace)}:{port}"


# Branches send their own site with what they remote-write; what is scraped here is of the centre.
_OF_THE_CENTRE = [{"target_label": "site", "replacement": naming.CENTRE}]


def _fixed(job: str, target: str, **more: Any) -> Object:
    discovery = {"static_configs": [{"targets": [target]}]}
    return {"job_name": job, **more, **discovery, "relabel_configs": _OF_THE_CENTRE}


def _hosts(region: RegionConfig) -> Object:
    """Every node of the stack file, under its own name: one that is gone must show as down, not vanish."""
    targets = [
        {"targets": [f"{node.address}:{NODE_EXPORTER_PORT}"], "labels": {"instance": node.name}}
        for node in region.datacenter.nodes
    ]
    return {"job_name": "node", "static_configs": targets, "relabel_configs": _OF_THE_CENTRE}


def _https(server: str) -> Object:
    """By TLS: a target is asked at its pod's address, and must show the region's certificate for `server`."""
    return {
        "scheme": "https",
        "tls_config": {"ca_file": "/etc/prometheus/root.crt", "server_name": server, "min_version": "TLS12"},
    }


def _discovered(job: str, headless: str, namespace: str, port: int, **more: Any) -> Object:
    name = f"{naming.service_host(headless, namespace)}.cluster.local"
    discovery = {"names": [name], "type": "A", "port": port, "refresh_interval": "15s"}
    return {"job_name": job, **more, "dns_sd_configs": [discovery], "relabel_configs": _OF_THE_CENTRE}
