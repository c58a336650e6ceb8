"""The ground: scrape targets, disks, Ceph and PostgreSQL. Most metrics are foreign (metrics.yaml)."""

from __future__ import annotations

from dashboards.config import Config

_REAL_DISKS = 'fstype=~"ext4|xfs|btrfs|zfs"'


def targets_down(config: Config) -> str:
    """Scrape targets that do not answer."""
    return f'up{{site=~"{config.sites}"}} == 0'


def targets_up_share(config: Config) -> str:
    return f'avg by (job, site) (up{{site=~"{config.sites}"}})'


def restarts(config: Config, window: str) -> str:
    """Starts of a part's process within `window`, beyond the first seen, by job, site and host or pod."""
    started = f'process_start_time_seconds{{site=~"{config.sites}"}}'
    return f"max by (job, site, instance) (changes({started}[{window}]))"


def units_down(config: Config) -> str:
    """Host services (systemd units) that Kubernetes itself stands on and that do not run."""
    return f'node_systemd_unit_state{{site=~"{config.sites}",state="active"}} == 0'


def node_certificate_seconds(config: Config) -> str:
    """Seconds until a certificate of a Kubernetes control plane ends, by site, host and certificate."""
    end = f'pacs_node_certificate_end_timestamp_seconds{{site=~"{config.sites}"}}'
    return f"min by (site, instance, certificate) ({end}) - time()"


def server_certificate_seconds(config: Config) -> str:
    """Seconds until a certificate that the operator's machine has issued for the centre ends, by certificate."""
    return "min by (site, certificate) (pacs_centre_certificate_end_timestamp_seconds) - time()"


def dependency(config: Config) -> str:
    """1 while a dependency of an archive answered its last probe, by site and dependency."""
    return f'min by (site, dependency) (pacs_archive_dependency_up{{site=~"{config.sites}"}})'


def disk_free_share(config: Config) -> str:
    """Free share of each real file system, by site, host and mount point."""
    selector = f'{{site=~"{config.sites}",{_REAL_DISKS}}}'
    free = f"node_filesystem_avail_bytes{selector}"
    return f"min by (site, instance, mountpoint) ({free} / node_filesystem_size_bytes{selector})"


def memory_free_share(config: Config) -> str:
    """Share of a host's memory that programs could still get, by site and host."""
    selector = f'{{site=~"{config.sites}"}}'
    free = f"node_memory_MemAvailable_bytes{selector} / node_memory_MemTotal_bytes{selector}"
    return f"min by (site, instance) ({free})"


def processors_busy_share(config: Config) -> str:
    """Share of a host's processor time that is not idle, by site and host."""
    idle = f'node_cpu_seconds_total{{site=~"{config.sites}",mode="idle"}}'
    return f"1 - avg by (site, instance) (rate({idle}[{config.rate_window}]))"


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
