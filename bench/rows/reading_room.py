"""Row 13: how many readers a second open a study before the 95th percentile of their waiting exceeds one second."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from pydicom import dcmwrite

from bench.clients.web import Connection, stowed
from bench.errors import ClientError
from bench.peers import Peers
from bench.rows.archives import archives, at_least
from bench.rows.filling import wait_until_found
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject
from load_tests.data.synthetic import CtStudy, RunUids
from toolchain.paths import REPOSITORY

USERS = "readers/s at p95 < 1 s"
_LABELS = ("prior-0", "prior-1", "prior-2")
_SLICES, _MATRIX, _SEED = 20, 256, 1
_SLOWEST_P95, _LATE_SHARE = 1.0, 0.05
_LOWEST, _HIGHEST = 0.25, 256.0


@dataclass(frozen=True)
class Seen:
    """What one run of the reading room saw at one rate."""

    journeys: int
    p95: float | None
    failed: int
    reason: str | None
    starts: int
    late: int

    @property
    def bearable(self) -> bool:
        """Everyone was served in time, and came when the plan said so."""
        in_time = self.p95 is not None and self.p95 < _SLOWEST_P95
        return in_time and self.failed == 0 and self.late <= _LATE_SHARE * self.starts


def highest_rate(try_rate: Callable[[float], Seen]) -> tuple[float, int]:
    """The highest bearable rate to within a fifth, and the journeys of all tries. Raises ClientError for none.

    Doubles from a low rate until it is too much, then halves the interval between twice.
    """
    good, rate, journeys = 0.0, _LOWEST, 0
    bad = _HIGHEST * 2
    while rate <= _HIGHEST:
        seen = try_rate(rate)
        journeys += seen.journeys
        if not seen.bearable:
            bad = rate
            if good == 0.0:
                raise ClientError(
                    f"not even {rate} readers a second are served", f"{seen}", "See the subject's log."
                )
            break
        good, rate = rate, rate * 2
    for _ in range(2):
        rate = (good + bad) / 2
        if bad > _HIGHEST:
            break
        seen = try_rate(rate)
        journeys += seen.journeys
        good, bad = (rate, bad) if seen.bearable else (good, rate)
    return good, journeys


class ReadingRoomJourney(Row):
    """Locust's reading room in the open model: each wait counts from the planned arrival."""

    number = 13
    title = "Locust: a reading room, open model"
    unit = "journey"
    client = "Locust, 1 process; search, metadata, then every frame over six connections"
    aims = at_least(USERS, 10)
    notes = (
        f"Three studies of {_SLICES} slices of {_MATRIX} x {_MATRIX}; a rate counts when nobody was refused and at most"
        f" {_LATE_SHARE:.0%} of the arrivals were late.",
        "One process of Locust is itself a limit, and lowers the ratio where a subject is faster than it.",
    )

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["open a study"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers, in_ceph=True)

    def prepare(self, stage: Stage, subject: Subject) -> None:
        studies = [
            CtStudy(
                _uids(subject), _SEED, _SLICES, _MATRIX, label, patient_id=f"L{_uids(subject).token}-{label}"
            )
            for label in _LABELS
        ]
        with Connection(subject.web()) as connection:
            for study in studies:
                for body in stowed([_encoded(study, index) for index in range(study.count)], study.count):
                    connection.store(body)
        wait_until_found(subject, {study.study_uid: study.count for study in studies})

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        def measure() -> Sample:
            rate, journeys = highest_rate(lambda wanted: self.read(stage, subject, wanted))
            return Sample(max(journeys, 1), {USERS: rate})

        yield measure

    def read(self, stage: Stage, subject: Subject, rate: float) -> Seen:
        """What the reading room sees when that many arrive in a second."""
        address = subject.web()
        wanted = {
            "url": address.base.removesuffix("/dicom-web"), "port": address.port, "rate": rate, "seed": _SEED,
            "token": address.headers.get("Authorization", "").removeprefix("Bearer "),
            "ca_file": str(address.ca_file) if address.ca_file else None,
            "run": str(_uids(subject).run), "labels": _LABELS, "seconds": max(stage.seconds * 2, 3 / rate),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "bench.clients.reading_room"], input=json.dumps(wanted), capture_output=True,
            text=True, cwd=REPOSITORY, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ClientError("the reading room failed", done.stderr.strip()[-300:], "See the subject's log.")
        return Seen(**json.loads(done.stdout))


def _uids(subject: Subject) -> RunUids:
    return RunUids(uuid5(NAMESPACE_URL, f"bench/13/{subject.name}"))


def _encoded(study: CtStudy, index: int) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, study.slice(index), enforce_file_format=True)
    return stream.getvalue()
