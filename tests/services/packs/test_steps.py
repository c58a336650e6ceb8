"""Rules of `services.packs.steps`: work is repeated until it is done, whatever goes wrong in between."""

from __future__ import annotations

from threading import Condition, Event

from services.common.clock import SystemClock
from services.packs.gathering import SealingRules
from services.packs.steps import Pause, Worker


class Standing(SystemClock):
    """A clock that stands."""

    def monotonic(self) -> float:
        return 100.0


def test_pauses_grow_to_the_longest_and_begin_anew_after_a_success() -> None:
    pause = Pause(SealingRules(retry_seconds=1.0, max_retry_seconds=4.0), Standing())
    assert pause.over
    assert [pause.failed() - 100 for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    assert not pause.over
    pause.succeeded()
    assert pause.failed() == 101.0


def test_an_error_that_nobody_foresaw_does_not_end_the_thread() -> None:
    calls: list[int] = []
    again = Event()

    def step() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("nobody foresaw this")
        again.set()

    worker = Worker(Condition(), SealingRules(retry_seconds=0.0), SystemClock())
    worker.start("work", step, lambda: False)
    assert again.wait(10)
    worker.stop()


def test_work_that_comes_while_a_step_ends_is_not_slept_over() -> None:
    wake, done = Condition(), Event()
    left = [1, 2, 3]

    def step() -> None:
        left.pop()
        if not left:
            done.set()

    worker = Worker(wake, SealingRules(), SystemClock())
    worker.start("work", step, lambda: bool(left))
    assert done.wait(10)
    worker.stop()
