"""The open model keeps its plan and tells the truth when it could not."""

from __future__ import annotations

from itertools import islice
from time import monotonic

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.arrivals import LATE_SECONDS, Punctuality, Schedule, poisson


@given(st.floats(0.1, 100), st.integers())
def test_a_plan_moves_forward_and_its_mean_is_the_rate(rate, seed):
    moments = list(islice(poisson(rate, seed), 400))
    assert moments == sorted(moments)
    assert 0.7 < 400 / moments[-1] / rate < 1.4


def test_the_same_seed_is_the_same_plan():
    assert list(islice(poisson(2, "x"), 9)) == list(islice(poisson(2, "x"), 9))


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_that_plans_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="plans nothing"):
        next(poisson(rate, 1))


def test_work_gets_its_planned_moment_not_the_moment_it_began():
    seen = []
    schedule = Schedule(iter([0.0, 0.01]), at_once=2, punctuality=Punctuality())
    schedule.start_next(seen.append)
    schedule.start_next(seen.append)
    schedule.finish(1)
    assert seen == pytest.approx([schedule.started, schedule.started + 0.01])


def test_slow_work_does_not_delay_the_next_start_while_there_is_room():
    record = Punctuality()
    schedule = Schedule(iter([0.0, 0.001]), at_once=2, punctuality=record)
    release = gevent.event.Event()
    for _ in range(2):
        schedule.start_next(lambda _: release.wait(2))
    release.set()
    schedule.finish(1)
    assert record.starts == 2
    assert record.late == 0


def test_a_start_that_found_no_room_is_counted_as_late():
    record = Punctuality()
    schedule = Schedule(iter([0.0, 0.0]), at_once=1, punctuality=record)
    for _ in range(2):
        schedule.start_next(lambda _: gevent.sleep(LATE_SECONDS * 2))
    schedule.finish(1)
    assert record.late == 1
    assert record.worst > LATE_SECONDS


def test_work_that_does_not_end_is_ended():
    schedule = Schedule(iter([0.0]), at_once=1, punctuality=Punctuality())
    schedule.start_next(lambda _: gevent.sleep(60))
    before = monotonic()
    schedule.finish(0.01)
    assert monotonic() - before < 1
