"""Objectives decide, and nothing that was not measured counts as reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from load_tests.arrivals import Punctuality
from load_tests.slo import Objective, Objectives, Samples, SloError, judge, percentile, table

ONE = Objectives((Objective("frame", p95=1.0, failures=0.1),), late_starts=0.1)


def samples(*milliseconds, failed=0):
    taken = Samples()
    for number, value in enumerate(milliseconds):
        taken.take("frame", value, OSError("line [cut]") if number < failed else None, request_type="GET")
    return taken


def test_an_objective_that_is_reached_is_kept():
    (verdict,) = judge(ONE, samples(100, 200, 900), {})
    assert verdict.kept


def test_a_request_that_nobody_made_is_a_missed_objective():
    (verdict,) = judge(ONE, Samples(), {})
    assert not verdict.kept
    assert verdict.seen == "never asked"


def test_one_slow_request_in_twenty_is_tolerated_and_two_are_not():
    assert judge(ONE, samples(*[10] * 19, 5000), {})[0].kept
    assert not judge(ONE, samples(*[10] * 18, 5000, 5000), {})[0].kept


def test_more_failures_than_allowed_miss_the_objective_however_quick_they_were():
    (verdict,) = judge(ONE, samples(*[1] * 10, failed=2), {})
    assert not verdict.kept
    assert "2 failed (OSError: line [cut])" in verdict.seen


def test_a_generator_that_fell_behind_its_plan_misses_the_run():
    kept, missed = (judge(ONE, samples(1), {"r": Punctuality(d)})[1] for d in ([0.0] * 9 + [1.0], [0.0, 1.0]))
    assert kept.kept
    assert not missed.kept


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_measured_value_that_enough_values_do_not_exceed(values, share):
    result = percentile(values, share)
    assert result in values
    assert sum(v <= result for v in values) >= share * len(values) - 1e-6


def test_every_shipped_intent_has_objectives_that_load():
    assert {o.name for o in Objectives.load("smoke").requests} >= {"WADO frame", "open a study"}


def test_an_unknown_intent_is_refused_with_those_there_are():
    with pytest.raises(SloError, match="smoke"):
        Objectives.load("stampede")


def test_an_objective_with_a_wrong_key_is_refused(tmp_path):
    path = tmp_path / "slo.yaml"
    path.write_text("smoke: {late_starts: 0.1, requests: {frame: {p96: 1}}}")
    with pytest.raises(SloError, match=r"smoke: .*p96"):
        Objectives.load("smoke", path)


def test_the_table_says_in_words_what_was_missed():
    console = Console(record=True, width=150)
    console.print(table(judge(ONE, samples(1, failed=1), {}), "t"))
    text = console.export_text()
    assert "MISSED" in text
    assert "line [cut]" in text
