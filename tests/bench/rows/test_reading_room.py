from __future__ import annotations

import pytest

from bench.errors import ClientError
from bench.rows.reading_room import Seen, highest_rate


def at(limit: float, tried: list[float]) -> Seen | object:
    def try_rate(rate: float) -> Seen:
        tried.append(rate)
        return Seen(10, 0.5 if rate <= limit else 1.5, 0, None, 10, 0)

    return try_rate


@pytest.mark.parametrize("limit", [0.3, 1.0, 5.5, 100.0])
def test_the_highest_bearable_rate_is_found_to_within_a_fifth(limit: float) -> None:
    tried: list[float] = []
    rate, journeys = highest_rate(at(limit, tried))  # type: ignore[arg-type]
    assert rate <= limit
    assert rate >= limit * 0.8
    assert journeys == 10 * len(tried)


def test_a_subject_that_is_never_too_slow_has_the_highest_rate_that_is_tried() -> None:
    tried: list[float] = []
    assert highest_rate(at(1e9, tried))[0] == max(tried)  # type: ignore[arg-type]


def test_a_subject_that_serves_nobody_in_time_has_failed() -> None:
    with pytest.raises(ClientError, match=r"not even 0\.25"):
        highest_rate(at(0, []))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "bearable"),
    [
        (Seen(100, 0.99, 0, None, 100, 5), True),
        (Seen(100, 1.0, 0, None, 100, 0), False),
        (Seen(100, 0.1, 1, "HTTP 503", 100, 0), False),
        (Seen(100, 0.1, 0, None, 100, 6), False),
        (Seen(0, None, 0, None, 0, 0), False),
    ],
)
def test_a_rate_counts_when_all_were_served_in_time_and_came_as_planned(seen: Seen, bearable: bool) -> None:
    assert seen.bearable is bearable
