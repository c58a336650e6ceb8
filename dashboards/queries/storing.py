"""Storing: from the modality's success to an object and a row at the centre."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.queries.events import events

_NO_ROOM = "A700|OutOfRoom|no-room"


def _rate(metric: str, by: str, config: Config, extra: str = "") -> str:
    return f'sum by ({by}) (rate({metric}{{site=~"{config.sites}"{extra}}}[{config.rate_window}]))'


def received_instances(config: Config) -> str:
    """Acknowledged instances a second, by site and interface."""
    return _rate("pacs_archive_received_instances_total", "site, interface", config)


def received_bytes(config: Config) -> str:
    return _rate("pacs_archive_received_bytes_total", "site", config)


def refused(config: Config) -> str:
    """Refusals a second, by reason: each was told to the sender."""
    return _rate("pacs_archive_refused_requests_total", "site, reason", config)


def refused_for_room(window: str) -> str:
    """Refusals because there was no room, by site; DIMSE, STOW-RS and ingest each name it their way."""
    return events(f'pacs_archive_refused_requests_total{{reason=~"{_NO_ROOM}"}}', "site", window)


def unsealed_age(config: Config) -> str:
    """Age of the oldest acknowledged byte that lies in the segment log only, by site."""
    return f'max by (site) (pacs_archive_unsealed_oldest_age_seconds{{site=~"{config.sites}"}})'


def unsealed_bytes(config: Config) -> str:
    return f'sum by (site) (pacs_archive_unsealed_bytes{{site=~"{config.sites}"}})'


def uncommitted_packs(config: Config) -> str:
    """Sealed packs that wait for object store or index, by site."""
    return f'sum by (site) (pacs_archive_uncommitted_packs{{site=~"{config.sites}"}})'


def second_copy_age(config: Config) -> str:
    """How long the oldest pack has been committed that is not at the second site, by site."""
    return f'max by (site) (pacs_archive_second_copy_oldest_age_seconds{{site=~"{config.sites}"}})'


def second_copy_waiting(config: Config) -> str:
    """Committed packs that are not at the second site yet, by site; every replica tells the same."""
    return f'max by (site) (pacs_archive_second_copy_waiting_packs{{site=~"{config.sites}"}})'


def second_copied(config: Config) -> str:
    """Objects a second for the second site, by outcome."""
    return _rate("pacs_archive_second_copy_objects_total", "outcome", config)


def sealed_packs(config: Config) -> str:
    return _rate("pacs_archive_sealed_packs_total", "site", config)


def pack_size(config: Config) -> str:
    """Mean size of committed packs in bytes, by site."""
    sums = _rate("pacs_archive_pack_size_bytes_sum", "site", config)
    counts = _rate("pacs_archive_pack_size_bytes_count", "site", config)
    return f"{sums} / ({counts} > 0)"


def commit_quantile(config: Config, share: float) -> str:
    """Seconds to put a pack into store and index, by site."""
    buckets = _rate("pacs_archive_pack_commit_seconds_bucket", "le, site", config)
    return f"histogram_quantile({share}, {buckets})"


def committed(config: Config) -> str:
    """Instances a second that commits added, or found to be duplicates, conflicts or deleted."""
    return _rate("pacs_archive_committed_instances_total", "result", config)


def buried(config: Config, window: str) -> str:
    """Versions of instances that tombstones took out of the index in `window`, by site and code."""
    selector = f'{{site=~"{config.sites}"}}'
    return events(f"pacs_archive_buried_instances_total{selector}", "site, code", window)


def check_differences(config: Config) -> str:
    """What the last check of index against bucket found, by site."""
    return f'max by (site) (pacs_archive_check_differences{{site=~"{config.sites}"}})'


def check_age(config: Config) -> str:
    """Seconds since the last check ended, by site; nothing where there was none."""
    ended = f'max by (site) (pacs_archive_check_finished_timestamp_seconds{{site=~"{config.sites}"}} > 0)'
    return f"time() - {ended}"


def conflicts(config: Config, window: str) -> str:
    """Further versions of a known SOP Instance UID, kept and flagged, by site."""
    selector = f'{{site=~"{config.sites}",result="conflict"}}'
    return events(f"pacs_archive_committed_instances_total{selector}", "site", window)


def failed_steps(config: Config) -> str:
    return _rate("pacs_archive_failed_steps_total", "site, step", config)


def quarantined(config: Config, window: str) -> str:
    """Received bytes that were set aside because they could not be read, by site."""
    return events(f'pacs_archive_quarantined_items_total{{site=~"{config.sites}"}}', "site", window)


def unreadable_headers(config: Config, window: str) -> str:
    return events(f'pacs_archive_unreadable_headers_total{{site=~"{config.sites}"}}', "site", window)


def dimse_quantile(config: Config, share: float) -> str:
    """Seconds from a received C-STORE data set to its acknowledgement, by site."""
    buckets = _rate("pacs_archive_dimse_store_seconds_bucket", "le, site", config)
    return f"histogram_quantile({share}, {buckets})"


def associations(config: Config) -> str:
    """DIMSE associations that are open, by site."""
    return f'sum by (site) (pacs_archive_open_associations{{site=~"{config.sites}"}})'
