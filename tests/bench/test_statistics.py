from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistics import median, p95, quantile

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def test_the_median_is_the_middle_value_or_the_mean_of_the_two() -> None:
    assert median([9, 1, 5]) == 5
    assert median([9, 1, 5, 7]) == 6


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([10, 20, 30, 40], 0.5) == 20
    assert quantile([10, 20, 30, 40], 0.51) == 30
    assert quantile([10, 20, 30, 40], 0) == 10
    assert quantile([10, 20, 30, 40], 1) == 40


def test_of_a_rate_the_95th_percentile_is_on_the_slow_side_and_of_a_time_too() -> None:
    values = [float(n) for n in range(1, 101)]
    assert p95(values, higher_is_better=False) == 95
    assert p95(values, higher_is_better=True) == 6
    assert p95([4, 5, 3, 8, 7], higher_is_better=True) == 3


@given(numbers, st.floats(0, 1))
def test_at_least_the_share_of_values_does_not_exceed_its_quantile(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="not between"):
        quantile([1.0], share)


def test_no_values_have_no_figures() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
    with pytest.raises(ValueError, match="no values"):
        p95([], higher_is_better=True)
