"""Service level objectives of reading: error ratios recorded over several windows, and burn-rate alerts.

An objective of 99.9 % leaves a budget of 0.1 % a month. A burn rate of 14.4 spends 2 % of it in
an hour: somebody is woken. 6 spends 5 % in six hours: it is looked at today. Each alert needs a
long window (it matters) and a short one (it still goes on), so it ends soon after the cause does.
"""

from __future__ import annotations

from dashboards.config import Config
from dashboards.queries import reading
from dashboards.rules.model import Alert, Recording, Severity

WINDOWS = ("5m", "30m", "1h", "6h")
FAST, SLOW = 14.4, 6.0


def recordings(config: Config) -> list[Recording]:
    """`pacs:read_errors:ratio_rate<window>` and `pacs:read_slow:ratio_rate<window>`."""
    return [
        Recording(f"pacs:{name}:ratio_rate{window}", query(config, window))
        for name, query in (("read_errors", reading.error_ratio), ("read_slow", reading.slow_ratio))
        for window in WINDOWS
    ]


def alerts(config: Config) -> list[Alert]:
    errors, slow = 1 - config.read_availability, 1 - config.read_quick_share
    quick = f"{config.read_quick_seconds} s"
    return [
        Alert(
            "ReadsFailing",
            _burn("read_errors", FAST, errors, "1h", "5m"),
            "2m",
            Severity.PAGE,
            "{{ $value | humanizePercentage }} of image reads fail",
            f"Doctors get errors instead of images. Normal: 0; the month's budget is {errors:.1%},"
            " and it is being spent 14 times too fast.",
        ),
        Alert(
            "ReadsFailingSlowly",
            _burn("read_errors", SLOW, errors, "6h", "30m"),
            "15m",
            Severity.TICKET,
            "{{ $value | humanizePercentage }} of image reads have failed for hours",
            f"A small share of reads fails steadily. Normal: 0; the month's budget is {errors:.1%},"
            " and it is being spent 6 times too fast.",
        ),
        Alert(
            "ReadsSlow",
            _burn("read_slow", FAST, slow, "1h", "5m"),
            "2m",
            Severity.PAGE,
            "{{ $value | humanizePercentage }} of image reads take longer than " + quick,
            f"Viewers feel stuck. Normal: below {slow:.0%} of reads take longer than {quick}.",
        ),
        Alert(
            "ReadsSlowly",
            _burn("read_slow", SLOW, slow, "6h", "30m"),
            "15m",
            Severity.TICKET,
            "{{ $value | humanizePercentage }} of image reads have taken longer than " + quick + " for hours",
            f"Reading is slower than promised. Normal: below {slow:.0%} of reads take longer than {quick}.",
        ),
    ]


def _burn(name: str, rate: float, budget: float, long: str, short: str) -> str:
    limit = round(rate * budget, 6)
    return f"pacs:{name}:ratio_rate{long} > {limit} and pacs:{name}:ratio_rate{short} > {limit}"
