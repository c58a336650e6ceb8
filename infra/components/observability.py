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
from infra.components.pods import Object, container, digest_annotation, pod_spec, probe, resources
from infra.components.scraping import ALERTMANAGER_PORT, PROMETHEUS_PORT, prometheus_configuration
from infra.components.workloads import config_map, service, stateful_set
from infra.config.region import RegionConfig
from infra.credentials import Credentials
from infra.layout.sizing import retention_days, size_bytes
from infra.supplies import Supplies

_IDENTITY = "/run/pacs/identity"

# Samples may fill this part of the volume; the rest is for the write-ahead log.
_SAMPLES_SHARE = 0.85


@dataclass(frozen=True)
class ObservabilityArgs:
    """The region, its credentials (for what is public in them), the images, and rule files by name."""

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
        shown = args.credentials.monitoring.chain
        files = {
            "prometheus.yaml": _yaml(prometheus_configuration(region)),
            "web.yaml": _yaml(web_configuration()),
            "root.crt": args.credentials.root,
        }
        routes = {
            "alertmanager.yaml": _yaml(alertmanager_configuration(region)),
            "web.yaml": _yaml(web_configuration()),
        }
        config_map("prometheus-configuration", naming.MONITORING, files, child)
        config_map("prometheus-rules", naming.MONITORING, args.rules, child)
        config_map("alertmanager-configuration", naming.MONITORING, routes, child)
        service(naming.PROMETHEUS, naming.MONITORING, {"http": PROMETHEUS_PORT}, opts=child)
        service(naming.ALERTMANAGER, naming.MONITORING, {"http": ALERTMANAGER_PORT}, opts=child)
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
            annotations=digest_annotation(files, dict(args.rules), shown),
            opts=child,
        )
        stateful_set(
            naming.ALERTMANAGER,
            naming.MONITORING,
            alertmanager_pod(supplies),
            replicas=1,
            claims={"state": "1Gi"},
            annotations=digest_annotation(routes, shown),
            opts=child,
        )
        self.register_outputs({})


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


def web_configuration() -> Object:
    """The web.yaml of both: TLS alone. Who may connect is for the network policies; neither asks who it is."""
    return {
        "tls_server_config": {
            "cert_file": f"{_IDENTITY}/tls.crt",
            "key_file": f"{_IDENTITY}/tls.key",
            "min_version": "TLS12",
        }
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
            _IDENTITY: "identity",
            "/var/lib/prometheus": "samples!",
        },
        command=["/usr/bin/prometheus"],
        args=[
            "--config.file=/etc/prometheus/prometheus.yaml",
            "--storage.tsdb.path=/var/lib/prometheus",
            f"--storage.tsdb.retention.time={retention_days(region.observability.retention)}d",
            f"--storage.tsdb.retention.size={samples >> 20}MB",
            "--web.config.file=/etc/prometheus/web.yaml",
            "--web.enable-remote-write-receiver",
        ],
        ports=[{"name": "http", "containerPort": PROMETHEUS_PORT}],
        resources=resources("100m", region.observability.memory),
        startupProbe=probe("/-/ready", PROMETHEUS_PORT, scheme="HTTPS", period=5, failures=60),
        livenessProbe=probe("/-/healthy", PROMETHEUS_PORT, scheme="HTTPS"),
        readinessProbe=probe("/-/ready", PROMETHEUS_PORT, scheme="HTTPS", period=5),
    )
    volumes: list[Any] = [
        {"name": "configuration", "configMap": {"name": "prometheus-configuration"}},
        {"name": "rules", "configMap": {"name": "prometheus-rules"}},
        _identity(),
    ]
    return pod_spec([main], volumes)


def alertmanager_pod(supplies: Supplies) -> Object:
    """Alertmanager, alone: no gossip port."""
    main = container(
        "alertmanager",
        supplies.images["prometheus"],
        supplies.pull_policy,
        {"/etc/alertmanager": "configuration", _IDENTITY: "identity", "/var/lib/alertmanager": "state!"},
        command=["/usr/bin/prometheus-alertmanager"],
        args=[
            "--config.file=/etc/alertmanager/alertmanager.yaml",
            "--web.config.file=/etc/alertmanager/web.yaml",
            "--storage.path=/var/lib/alertmanager",
            "--cluster.listen-address=",
        ],
        ports=[{"name": "http", "containerPort": ALERTMANAGER_PORT}],
        resources=resources("10m", "128Mi"),
        livenessProbe=probe("/-/healthy", ALERTMANAGER_PORT, scheme="HTTPS"),
        readinessProbe=probe("/-/ready", ALERTMANAGER_PORT, scheme="HTTPS", period=5),
    )
    configuration = {"name": "configuration", "configMap": {"name": "alertmanager-configuration"}}
    return pod_spec([main], [configuration, _identity()])


def read_rules(directory: Path) -> dict[str, str]:
    """Generated rule files by name: every YAML file under the directory that has `groups` at its top."""
    found = {}
    for path in sorted([*directory.rglob("*.yml"), *directory.rglob("*.yaml")]):
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        if isinstance(document, Mapping) and "groups" in document:
            found[path.name] = text
    return found


def _identity() -> Object:
    return {"name": "identity", "secret": {"secretName": naming.MONITORING_TLS, "defaultMode": 0o440}}


def _yaml(document: Object) -> str:
    # Through JSON: YAML would write what is used twice as an alias.
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)
