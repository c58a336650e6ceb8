"""Smoke: is everything on the reading path there and quick, in a minute, and then it ends by itself."""

from __future__ import annotations

from typing import ClassVar

from locust import LoadTestShape

from load_tests.users.modality import CtScanner
from load_tests.users.reading_room import ReadingRoom


class Smoke(LoadTestShape):
    """One reading room and one department's scanners for `seconds`; bounded by time and so by count."""

    seconds: ClassVar[float] = 60.0

    def tick(self) -> tuple[int, float, list[type]] | None:
        """Users, spawn rate, classes; None ends the run."""
        if self.get_run_time() >= self.seconds:  # type: ignore[no-untyped-call]
            return None
        return 2, 2.0, [ReadingRoom, CtScanner]
