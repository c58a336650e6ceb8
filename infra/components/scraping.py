"""prometheus.yaml: whom Prometheus asks at the centre, and the names by which it knows them."""

from __future__ import annotations

from typing import Any

from infra import naming
from infra.components.node_metrics import PORT as NODE_EXPORTER_PORT
from infra.components.pods import Object
from infra.config.region import RegionConfig

PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093

# A branch keeps for remote write what its write-ahead log holds: some two hours, at most three.
_LATE = "3h"


def prometheus_configuration(region: RegionConfig) -> Object:
    """prometheus.yaml: who is scraped, which rules hold, where alerts go."""
    alertmanager = f"{naming.alertmanager_host()}:{ALERTMANAGER_PORT}"
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
                    **_https(naming.alertmanager_host()),
                    "static_configs": [{"targets": [alertmanager]}],
                }
            ]
        },
        "scrape_configs": [
            _discovered("archive", "archive-pods", naming.PACS, 8090, **_https(naming.archive_host())),
            _discovered("gateway", "gateway-pods", naming.PACS, 9145, **_https(region.gateway_name)),
            _discovered("database", "database-pods", naming.PACS, 9187, **_https(naming.database_host())),
            _fixed("ceph", f"{naming.service_host('rook-ceph-mgr', naming.CEPH)}:9283", honor_labels=True),
            _hosts(region),
            _fixed("prometheus", f"localhost:{PROMETHEUS_PORT}", **_https(naming.prometheus_host())),
            _fixed("alertmanager", alertmanager, **_https(naming.alertmanager_host())),
        ],
    }


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
