"""The open model: work arrives when it arrives, whether or not the last piece is done.

A closed loop (send, wait, think, send) slows down together with the system it measures and
so hides its worst moments (coordinated omission). Here the plan is made beforehand, each
latency is counted from the planned start, and a start that came late is itself reported.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import gevent
from gevent.pool import Pool

LATE_SECONDS = 0.05
"""A start that much after its plan is late: beyond what a scheduler's own jitter explains."""


def poisson(rate: float, seed: int | str) -> Iterator[float]:
    """Planned starts in seconds from the beginning: a Poisson process of `rate` arrivals a second.

    Endless and seeded. Raises ValueError for a rate that is not positive.
    """
    if rate <= 0:
        raise ValueError(f"a rate of {rate} arrivals a second plans nothing; give one above 0")
    chance = random.Random(seed)  # noqa: S311 - a plan, not a secret
    moment = 0.0
    while True:
        moment += chance.expovariate(rate)
        yield moment


@dataclass
class Punctuality:
    """How the plan was kept: starts, and by how many seconds each was late."""

    delays: list[float] = field(default_factory=list)

    @property
    def starts(self) -> int:
        return len(self.delays)

    @property
    def late(self) -> int:
        return sum(delay > LATE_SECONDS for delay in self.delays)

    @property
    def worst(self) -> float:
        return max(self.delays, default=0.0)


@dataclass
class Schedule:
    """Starts work at its planned moments, at most `at_once` pieces together; more than that start late."""

    plan: Iterator[float]
    at_once: int
    punctuality: Punctuality
    started: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self._pool = Pool(self.at_once)

    def start_next(self, work: Callable[[float], None]) -> None:
        """Wait for the next planned moment, then run `work(planned)` beside what still runs.

        `planned` is on the monotonic clock; latencies are counted from it.
        """
        planned = self.started + next(self.plan)
        gevent.sleep(max(0.0, planned - monotonic()))
        self._pool.wait_available()
        self.punctuality.delays.append(max(0.0, monotonic() - planned))
        self._pool.spawn(work, planned)

    def finish(self, seconds: float) -> None:
        """Give running work `seconds` to end, then end it."""
        self._pool.join(timeout=seconds)
        self._pool.kill()
