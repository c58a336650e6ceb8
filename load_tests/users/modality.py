"""Scanners that send a study when an examination ends."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from locust import User, constant, task

from load_tests.arrivals import Schedule, poisson
from load_tests.clients.dimse import DimseClient
from load_tests.scene import Scene


class CtScanner(User):
    """One scanner: examinations end at random moments, each study goes out on one association.

    A busy CT ends an examination about every ten minutes; the rate of a scene stands for a whole
    department and is set there.
    """

    wait_time = constant(0)
    fixed_count = 1
    scene: ClassVar[Scene]

    def on_start(self) -> None:
        scene = self.scene
        self.numbers = count(1)
        self.schedule = Schedule(
            poisson(scene.sending_rate, f"{scene.seed}-sending"),
            at_once=4,
            punctuality=scene.plan_of("modality"),
        )

    def on_stop(self) -> None:
        self.schedule.finish(seconds=30)

    @task
    def next_examination(self) -> None:
        self.schedule.start_next(self.send_study)

    def send_study(self, planned: float) -> None:
        study = self.scene.study(f"sent-{next(self.numbers)}")
        DimseClient(self.scene.target, self.environment.events.request).send(study, planned)
