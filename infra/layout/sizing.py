"""Sizes and durations: how much room there is, and whether a retention fits into it."""

from __future__ import annotations

import math
import re

SIZE_PATTERN = r"^[1-9][0-9]*(Mi|Gi|Ti|Pi)$"

# Private memory of one rendering worker (`services.archive.rendering`): a frame of the largest detectors, decoded.
RENDERING_BYTES = 512 << 20

_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50}
_RETENTION = re.compile(r"P([1-9][0-9]*)([DMY])")
# The longest month and the longest year: a retention must never come out shorter than what was promised.
_DAYS = {"D": 1, "M": 31, "Y": 366}

# A branch keeps this part of its disk free of images: PostgreSQL, segments, the outbox and metrics live there too.
BRANCH_RESERVE = 0.15

# Of its disk, for metrics: two weeks of a branch are some 300 MiB.
_BRANCH_METRICS = 0.03


class SizingError(ValueError):
    """A size, a duration or a combination of them cannot work; the text says what to change."""


def size_bytes(text: str) -> int:
    """Bytes of a size such as `20Gi`. Raises SizingError."""
    if not re.fullmatch(SIZE_PATTERN, text):
        raise SizingError(f"got {text!r}; allowed: a whole number and Mi, Gi, Ti or Pi, such as 20Gi")
    return int(text[:-2]) * _UNITS[text[-2:]]


def format_bytes(count: int) -> str:
    """A size for people: the largest binary unit that leaves at least 1, one decimal."""
    for unit, factor in reversed(_UNITS.items()):
        if count >= factor:
            return f"{count / factor:.1f}{unit}"
    return f"{count} bytes"


def retention_days(text: str) -> int:
    """Days of an ISO 8601 duration of days, months or years (`P3M`), rounded up. Raises SizingError."""
    match = _RETENTION.fullmatch(text)
    if match is None:
        raise SizingError(f"got {text!r}; allowed: an ISO 8601 duration such as P3M, P90D or P1Y")
    return int(match[1]) * _DAYS[match[2]]


def branch_cache_bytes(disk: str) -> int:
    """What a branch's disk holds of images, after the reserve for its database and segments."""
    return math.floor(size_bytes(disk) * (1 - BRANCH_RESERVE))


def branch_metrics_bytes(disk: str) -> int:
    """What a branch's Prometheus may take of its disk: at most 4 GiB, and always within the reserve."""
    return min(4 * _UNITS["Gi"], math.floor(size_bytes(disk) * _BRANCH_METRICS))


def check_retention_fits(site: str, disk: str, daily: str, retention: str) -> None:
    """A branch must hold its retention's images on its own disk (M-12). Raises SizingError."""
    room = branch_cache_bytes(disk)
    days = retention_days(retention)
    needed = size_bytes(daily) * days
    if needed > room:
        possible = room // size_bytes(daily)
        raise SizingError(
            f"branch {site}: got a retention of {retention} ({days} days) at {daily} a day = "
            f"{format_bytes(needed)}; its disk holds {format_bytes(room)} ({possible} days). "
            "Give it a larger disk, or lower retention or daily_volume"
        )


def branch_archive_bytes(memory: str, *, share: float = 0.25) -> int:
    """What the archive may take of a branch's memory: `share` of it, at least the 512 MiB it needs to start."""
    return max(512 * _UNITS["Mi"], int(size_bytes(memory) * share))


def archive_limit_bytes(memory: int, workers: int) -> int:
    """The limit of an archive's pod: `memory` for itself, and each rendering worker's beside it."""
    return memory + workers * RENDERING_BYTES


def osd_memory_bytes(node_memory: str, devices: int, *, share: float = 0.5) -> int:
    """Memory target of each OSD of a node: an equal part of `share` of the node, between 1 and 8 GiB."""
    if devices < 1:
        raise SizingError(f"got {devices} devices; allowed: at least one")
    each = int(size_bytes(node_memory) * share / devices)
    return max(_UNITS["Gi"], min(each, 8 * _UNITS["Gi"]))
