"""The ground: scrape targets, disks, Ceph and PostgreSQL. Most metrics are foreign (metrics.yaml)."""

from __future__ import annotations

from dashboards.config import Config

_REAL_DISKS = 'fstype=~"ext4|xfs|btrfs|zfs"'


def targets_down(config: Config) -> str:
    """Scrape targets that do not answer."""
    return f'up{{site=~"{config.sites}"}} == 0'


def targets_up_share(config: Config) -> str:
    return f'avg by (job, site) (up{{site=~"{config.sites}"}})'


def dependency(config: Config) -> str:
    """1 while a dependency of an archive answered its last probe, by site and dependency."""
    return f'min by (site, dependency) (pacs_archive_dependency_up{{site=~"{config.sites}"}})'


def disk_free_share(config: Config) -> str:
    """Free share of each real file system, by site, host and mount point."""
    selector = f'{{site=~"{config.sites}",{_REAL_DISKS}}}'
    free = f"node_filesystem_avail_bytes{selector}"
    return f"min by (site, instance, mountpoint) ({free} / node_filesystem_size_bytes{selector})"


def object_store_used_share(config: Config) -> str:
    return "max(ceph_cluster_total_used_bytes / ceph_cluster_total_bytes)"


def object_store_health(config: Config) -> str:
    """0 HEALTH_OK, 1 HEALTH_WARN, 2 HEALTH_ERR."""
    return "max(ceph_health_status)"


def object_store_daemons_down(config: Config) -> str:
    return "count(ceph_osd_up == 0) or vector(0)"


def database_down(config: Config) -> str:
    """PostgreSQL instances of the index whose collector cannot reach them."""
    return "cnpg_collector_up == 0"


def database_lag_seconds(config: Config) -> str:
    """Replay lag of the standbys."""
    return "max by (instance) (cnpg_pg_replication_lag)"
