"""Figures and names that queries take, so that no PromQL holds a number of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Objectives and selectors of a region. Times are Prometheus durations or seconds, as named."""

    sites: str = "$site"
    """Regular expression of the label `site`: a variable on boards, `.*` in rules."""

    read_availability: float = 0.999
    """Share of DICOMweb answers at the gateway that are no 5xx, over `window`."""

    read_quick_seconds: str = "1"
    """A bucket of the gateway's histogram: a read answered within it is quick."""

    read_quick_share: float = 0.99
    """Share of DICOMweb answers that are to be quick."""

    rate_window: str = "5m"
    queue_age_warning_seconds: int = 15 * 60
    queue_age_critical_seconds: int = 4 * 3600
    drain_warning_seconds: int = 6 * 3600
    certificate_warning_seconds: int = 21 * 86400
    certificate_critical_seconds: int = 3 * 86400
    unsealed_age_seconds: int = 30
    second_copy_warning_seconds: int = 3600
    disk_warning_free: float = 0.15
    disk_critical_free: float = 0.05
    object_store_warning_used: float = 0.75
    restarts_warning: int = 3

    @classmethod
    def for_rules(cls) -> Config:
        return cls(sites=".*")
