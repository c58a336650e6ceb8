"""Branches: what waits for the line, what the centre has receipted, and the right to connect."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.queries.events import events


def _edge(metric: str, config: Config, extra: str = "") -> str:
    return f'pacs_edge_{metric}{{site=~"{config.sites}"{extra}}}'


def queue_age(config: Config) -> str:
    """Seconds since the oldest pack without a receipt was made, by site."""
    return f"max by (site) ({_edge('queue_oldest_age_seconds', config)})"


def queue_bytes(config: Config) -> str:
    """Bytes that the centre has not receipted, by site."""
    return f"max by (site) ({_edge('queue_bytes', config)})"


def queue_packs(config: Config) -> str:
    return f"max by (site) ({_edge('queue_packs', config)})"


def forwarded_bytes(config: Config) -> str:
    return f"sum by (site) (rate({_edge('forwarded_bytes_total', config)}[{config.rate_window}]))"


def forwarded_packs(config: Config) -> str:
    return f"sum by (site) (rate({_edge('forwarded_packs_total', config)}[{config.rate_window}]))"


def drain_seconds(config: Config) -> str:
    """Seconds until the queue is empty at the last half hour's pace; nothing while it stands still."""
    pace = f"sum by (site) (rate({_edge('forwarded_bytes_total', config)}[30m]))"
    return f"{queue_bytes(config)} / ({pace} > 0)"


def put_quantile(config: Config, share: float) -> str:
    """Seconds from the first byte of a pack to its receipts, by site."""
    buckets = (
        f"sum by (le, site) (rate({_edge('put_duration_seconds_bucket', config)}[{config.rate_window}]))"
    )
    return f"histogram_quantile({share}, {buckets})"


def centre_reachable(config: Config) -> str:
    """1 while the branch's last exchange with the centre succeeded."""
    return f"min by (site) ({_edge('centre_reachable', config)})"


def silent(config: Config) -> str:
    """Sites that reported within the last week and do not now: the line, the power or the edge is gone."""
    present = _edge("centre_reachable", config)
    return f"count by (site) (last_over_time({present}[7d])) unless count by (site) ({present})"


def receipt_age(config: Config) -> str:
    """Seconds since receipts last came, by site, where packs wait for some."""
    age = f"time() - max by (site) ({_edge('last_receipt_timestamp_seconds', config)} > 0)"
    return f"({age}) and ({queue_packs(config)} > 0)"


def failed_attempts(config: Config) -> str:
    return f"sum by (site, reason) (rate({_edge('failed_attempts_total', config)}[{config.rate_window}]))"


def refused_packs(config: Config, window: str) -> str:
    """Packs that the centre refused for good; they lie in the branch's quarantine."""
    return events(_edge("refused_packs_total", config), "site, reason", window)


def quarantine(config: Config) -> str:
    return f"max by (site) ({_edge('quarantine_packs', config)})"


def rejected_receipts(config: Config, window: str) -> str:
    """Answers whose receipts did not hold: a defect, or somebody who is not the centre."""
    return events(_edge("receipts_rejected_total", config), "site, reason", window)


def verified_receipts(config: Config) -> str:
    return f"sum by (site) (rate({_edge('receipts_verified_total', config)}[{config.rate_window}]))"


def certificate_seconds(config: Config) -> str:
    """Seconds until the site's certificate ends."""
    return f"min by (site) ({_edge('certificate_expiry_seconds', config)})"


def failed_renewals(config: Config, window: str) -> str:
    return events(_edge("renewal_failures_total", config), "site, reason", window)


def ledger_behind(config: Config) -> str:
    """Packs whose rows at the branch are not yet up to date (the receipts themselves are files)."""
    return f"max by (site) ({_edge('ledger_behind_packs', config)})"


def figures_behind_seconds(config: Config) -> str:
    """How far the figures of a branch that reached the centre lie behind those it has measured, by site."""
    sent = f'prometheus_remote_storage_queue_highest_sent_timestamp_seconds{{site=~"{config.sites}"}}'
    measured = f'prometheus_remote_storage_highest_timestamp_in_seconds{{site=~"{config.sites}"}}'
    return f"max by (site) ({measured}) - max by (site) ({sent})"
