"""Waits grow, are spread, have a ceiling, and keep what the centre asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.edge.forwarder.patience import Patience


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_the_longest_or_shorter_than_half_the_first(
    failures: int, chance: float
) -> None:
    wait = Patience(first=0.5, longest=30).wait(failures, lambda: chance)
    assert 0.25 <= wait <= 30


def test_waits_double_until_the_ceiling() -> None:
    waits = [Patience(first=1, longest=8).wait(n, lambda: 0.999999) for n in range(1, 6)]
    assert [round(wait) for wait in waits] == [1, 2, 4, 8, 8]


@given(asked=st.floats(0, 3600), chance=st.floats(0, 1, exclude_max=True))
def test_retry_after_is_never_undercut(asked: float, chance: float) -> None:
    assert Patience().wait(1, lambda: chance, asked) > asked
