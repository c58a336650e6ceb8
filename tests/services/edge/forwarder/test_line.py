"""While the line fails one pack tries; a success opens it for all."""

from __future__ import annotations

from services.edge.errors import LineDown
from services.edge.forwarder.line import Line
from services.edge.forwarder.patience import Patience
from tests.services.edge.branch import HandClock


def a_line(clock: HandClock) -> Line:
    return Line(clock, Patience(first=1, longest=8), lambda: 0.999999, connections=4)


def down(retry_after: float | None = None) -> LineDown:
    return LineDown("cut", reason="network", retry_after=retry_after)


def test_an_open_line_carries_all_connections(clock: HandClock) -> None:
    line = a_line(clock)
    assert line.allowance() == 4
    assert not line.reachable  # nothing has been tried yet
    line.succeeded()
    assert line.reachable


def test_a_failed_line_waits_then_lets_one_try_then_opens(clock: HandClock) -> None:
    line = a_line(clock)
    line.failed(down())
    assert (line.allowance(), line.reachable, line.reason) == (0, False, "network")
    clock.turn(1.01)
    assert line.allowance() == 1
    line.succeeded()
    assert line.allowance() == 4


def test_four_connections_that_break_together_are_one_failure(clock: HandClock) -> None:
    line = a_line(clock)
    for _ in range(4):
        line.failed(down())
    assert line.blocked_seconds() <= 1


def test_repeated_failures_wait_longer(clock: HandClock) -> None:
    line = a_line(clock)
    waits = []
    for _ in range(5):
        line.failed(down())
        waits.append(round(line.blocked_seconds()))
        clock.turn(line.blocked_seconds())
    assert waits == [1, 2, 4, 8, 8]


def test_the_centre_s_retry_after_is_kept(clock: HandClock) -> None:
    line = a_line(clock)
    line.failed(down(retry_after=60))
    clock.turn(59)
    assert line.allowance() == 0


def test_a_jump_of_the_wall_clock_changes_no_wait() -> None:
    clock = HandClock()
    line = a_line(clock)
    line.failed(down())
    clock._now = clock.now().replace(year=clock.now().year + 1)
    assert line.allowance() == 0
