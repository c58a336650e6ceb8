"""Every physical name in the cluster, once. Logical (Pulumi) names are in the components themselves."""

from __future__ import annotations

# Namespaces
PACS = "pacs"
CEPH = "rook-ceph"
DATABASE_OPERATOR = "cnpg-system"
VOLUMES = "local-path-storage"
MONITORING = "monitoring"
NODE_METRICS = "node-metrics"

# The site that the data centre is in packs, records and metrics
CENTRE = "centre"

# Object store
CEPH_CLUSTER = "ceph"
OBJECT_STORE = "packs"
OBJECT_STORE_USER = "archive"
OBJECT_STORE_TLS = "object-store-tls"

# Database
DATABASE_CLUSTER = "index"
DATABASE_NAME = "archive"
DATABASE_TLS = "index-tls"
DATABASE_CA = "index-server-ca"  # "index-ca" is the name of CloudNativePG's own client CA

# Services
GATEWAY = "gateway"
ARCHIVE = "archive"
CA = "ca"
PROMETHEUS = "prometheus"
ALERTMANAGER = "alertmanager"
NODE_EXPORTER = "node-exporter"
MONITORING_TLS = "monitoring-tls"

STORAGE_CLASS = "local-path"


def service_host(service: str, namespace: str) -> str:
    """The name under which a service is reached, also from another namespace; certificates carry it."""
    return f"{service}.{namespace}.svc"


def archive_host() -> str:
    """The archive's service, for both of its HTTP listeners."""
    return service_host(ARCHIVE, PACS)


def prometheus_host() -> str:
    """The centre's Prometheus."""
    return service_host(PROMETHEUS, MONITORING)


def alertmanager_host() -> str:
    """The centre's Alertmanager."""
    return service_host(ALERTMANAGER, MONITORING)


def object_store_host() -> str:
    """Rook names the RGW's service after the store."""
    return service_host(f"rook-ceph-rgw-{OBJECT_STORE}", CEPH)


def object_store_credentials() -> str:
    """The Secret that Rook makes for our user, in the user's namespace."""
    return f"rook-ceph-object-user-{OBJECT_STORE}-{OBJECT_STORE_USER}"


def database_host() -> str:
    """CloudNativePG's service that always leads to the primary."""
    return service_host(f"{DATABASE_CLUSTER}-rw", PACS)


def database_credentials() -> str:
    """The Secret that CloudNativePG makes for the application's user."""
    return f"{DATABASE_CLUSTER}-app"
