"""Doctors who open studies, each when the work brings it."""

from __future__ import annotations

import random
from time import monotonic
from typing import ClassVar

from gevent.pool import Pool
from locust import User, constant, task

from load_tests.arrivals import Schedule, poisson
from load_tests.clients.dicomweb import DicomWebClient
from load_tests.data.synthetic import CtStudy
from load_tests.scene import Scene

CONNECTIONS = 6
"""Connections a browser opens to one server over HTTP/1.1 (the customary limit of all large browsers)."""

OPEN_SHARE = 0.8
"""Of arrivals, those that open a study; the others only look through the list.

An assumption, not a measurement: replace it by the ratio of metadata to study searches in your own
gateway (`sum by (route) (rate(pacs_archive_http_request_seconds_count[1d]))`).
"""


class ReadingRoom(User):
    """One reading room: a stream of arrivals (Poisson), not a person in a loop.

    Opening a study is 1 QIDO-RS search, 1 metadata request a series and one request for each frame
    over a browser's six connections: the sequence that zero-footprint viewers such as OHIF issue.
    """

    wait_time = constant(0)
    weight = 1
    scene: ClassVar[Scene]

    def on_start(self) -> None:
        scene = self.scene
        self.chance = random.Random(scene.seed)  # noqa: S311 - which study is read, not a secret
        self.schedule = Schedule(
            poisson(scene.reading_rate, scene.seed), at_once=50, punctuality=scene.plan_of("reading room")
        )

    def on_stop(self) -> None:
        self.schedule.finish(seconds=30)

    @task
    def next_arrival(self) -> None:
        study = self.chance.choice(self.scene.studies)
        journey = self.open_study if self.chance.random() < OPEN_SHARE else self.look_through_list
        self.schedule.start_next(lambda planned: journey(study, planned))

    def look_through_list(self, study: CtStudy, planned: float) -> None:
        """One search by patient, as from the worklist."""
        viewer = DicomWebClient(self.scene.target, self.environment.events.request)
        viewer.search("QIDO studies", f"/studies?PatientID={study.patient_id}", planned)

    def open_study(self, study: CtStudy, planned: float) -> None:
        """Search, metadata, then all frames; the whole journey is reported too, from its planned start."""
        reports = self.environment.events.request
        viewer = DicomWebClient(self.scene.target, reports)
        series = f"/studies/{study.study_uid}/series/{study.series_uid}"
        found = viewer.search("QIDO studies", f"/studies?PatientID={study.patient_id}", planned)
        listed = viewer.search("WADO series metadata", f"{series}/metadata") if found else None
        complete = listed is not None and len(listed) == study.count
        size = 0
        if complete:
            paths = [f"{series}/instances/{study.slice_uid(i)}/frames/1" for i in range(study.count)]
            viewers = [DicomWebClient(self.scene.target, reports) for _ in range(CONNECTIONS)]
            lanes = Pool(CONNECTIONS).map(
                lambda lane: [viewers[lane].frame("WADO frame", path) for path in paths[lane::CONNECTIONS]],
                range(CONNECTIONS),
            )
            frames = [frame for lane in lanes for frame in lane]
            size = sum(len(frame or b"") for frame in frames)
            complete = size == study.count * study.matrix * study.matrix * 2
        reports.fire(
            request_type="JOURNEY",
            name="open a study",
            response_time=(monotonic() - planned) * 1000,
            response_length=size,
            exception=None if complete else IncompleteStudyError(f"{size} bytes of pixels"),
            context={},
        )


class IncompleteStudyError(Exception):
    """A reader did not get every frame of the study."""
