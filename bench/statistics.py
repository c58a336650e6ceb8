"""Median and 95th percentile of a few repeats, and quantiles of many requests."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed (nearest rank, no interpolation).

    Raises ValueError for no values or a share outside 0..1.
    """
    if not values:
        raise ValueError("there is no quantile of no values")
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} is not between 0 and 1")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number the mean of the two in the middle. Raises ValueError for none."""
    if not values:
        raise ValueError("there is no median of no values")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def p95(values: Sequence[float], *, higher_is_better: bool) -> float:
    """The value that 95 % of the repeats are at least as good as; with five repeats that is the worst of them."""
    if higher_is_better:
        return -quantile([-value for value in values], 0.95)
    return quantile(values, 0.95)
