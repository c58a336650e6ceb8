"""Reading: what doctors get from the gateway, and from the archives behind it."""

from __future__ import annotations

from dashboards.config import Config

# What viewers ask. STOW-RS shares the route; hospitals send through their branch, so it is rare here.
_READS = 'route=~"dicomweb|frames|instances|bulkdata|series|metadata"'


def requests(config: Config) -> str:
    """DICOMweb requests a second, by status class."""
    return (
        "sum by (class) (label_replace("
        f"rate(pacs_gateway_requests_total{{{_READS}}}[{config.rate_window}]),"
        ' "class", "${1}xx", "status", "(.).."))'
    )


def error_ratio(config: Config, window: str) -> str:
    """Share of DICOMweb answers that were 5xx; 0 without traffic is no statement and yields nothing."""
    failed = f'sum(rate(pacs_gateway_requests_total{{{_READS},status=~"5.."}}[{window}])) or vector(0)'
    return f"({failed}) / (sum(rate(pacs_gateway_requests_total{{{_READS}}}[{window}])) > 0)"


def slow_ratio(config: Config, window: str) -> str:
    """Share of DICOMweb answers that took longer than the objective."""
    quick = (
        "sum(rate(pacs_gateway_request_duration_seconds_bucket"
        f'{{{_READS},le="{config.read_quick_seconds}"}}[{window}]))'
    )
    everything = f"sum(rate(pacs_gateway_request_duration_seconds_count{{{_READS}}}[{window}]))"
    return f"1 - {quick} / ({everything} > 0)"


def quantile(config: Config, share: float) -> str:
    """Seconds that `share` of DICOMweb answers stay below."""
    return (
        f"histogram_quantile({share}, sum by (le) ("
        f"rate(pacs_gateway_request_duration_seconds_bucket{{{_READS}}}[{config.rate_window}])))"
    )


def archive_quantile(config: Config, share: float) -> str:
    """The same at the archives, by site: what the gateway adds is the difference."""
    return (
        f"histogram_quantile({share}, sum by (le, site) ("
        f'rate(pacs_archive_request_seconds_bucket{{site=~"{config.sites}"}}[{config.rate_window}])))'
    )


def store_quantile(config: Config, share: float) -> str:
    """Seconds of object store calls, by operation."""
    return (
        f"histogram_quantile({share}, sum by (le, operation) ("
        f'rate(pacs_archive_store_operation_seconds_bucket{{site=~"{config.sites}"}}[{config.rate_window}])))'
    )


def sources(config: Config) -> str:
    """Retrievals a second that the gateway answered without the archive, by where the bytes came from."""
    return f"sum by (source) (rate(pacs_gateway_reads_total[{config.rate_window}]))"


def token_checks(config: Config) -> str:
    """Token checks a second, by what came of them."""
    return f"sum by (result) (rate(pacs_gateway_token_checks_total[{config.rate_window}]))"


def series_maps(config: Config) -> str:
    """Maps of series that the gateway asked for a second, by what came of it."""
    return f"sum by (result) (rate(pacs_gateway_series_maps_total[{config.rate_window}]))"


def rendering_quantile(config: Config, share: float) -> str:
    """Seconds that `share` of rendering jobs stay below, the wait for a worker included."""
    return (
        f"histogram_quantile({share}, sum by (le, site) ("
        f'rate(pacs_archive_rendering_seconds_bucket{{site=~"{config.sites}"}}[{config.rate_window}])))'
    )


def rendering_failures(config: Config) -> str:
    """Rendering jobs a second that ended a worker or found none."""
    return (
        "sum by (outcome) (rate(pacs_archive_rendering_jobs_total"
        f'{{site=~"{config.sites}",outcome=~"crashed|timeout|busy"}}[{config.rate_window}]))'
    )


def built_metadata(config: Config) -> str:
    """Series a second whose metadata was built after they had fallen quiet, by site."""
    return f'sum by (site) (rate(pacs_archive_built_metadata_total{{site=~"{config.sites}"}}[{config.rate_window}]))'


def connections(config: Config) -> str:
    return 'sum by (state) (pacs_gateway_connections{state=~"reading|writing|waiting"})'
