"""Row 8: a search with a hundred results over an index of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.clients import query, wrk
from bench.clients.web import JSON
from bench.clients.wrk import Asking
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import Aim
from bench.rows.archives import archives, at_least
from bench.rows.filling import fill
from bench.rows.frames import P99
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject

QUERIES = "searches/s"
_RESULTS = 100
_DAY, _OTHER_DAYS = "20250615", 300
_QIDO, _FIND = "QIDO-RS", "C-FIND"
_KEYS = (
    "QueryRetrieveLevel=STUDY",
    f"StudyDate={_DAY}",
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "StudyTime",
)


class Search(Row):
    """All studies of one day, of which there are a hundred, by one caller."""

    number = 8
    title = "QIDO-RS and C-FIND, 100 results"
    unit = "search"
    client = "wrk, 1 connection; findscu, 1 association, --repeat"
    aims = (*at_least(QUERIES, 10), Aim(P99, "archive", case=_QIDO, at_most=20))
    notes = (
        "Studies of ten instances, a hundred of them on the day that is asked for; matrix 16, so that only the index is large.",
        "The latency of a single search is taken over HTTP alone: findscu gives none.",
    )

    def cases(self, stage: Stage) -> Sequence[str]:
        return [_QIDO, _FIND]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers)

    def prepare(self, stage: Stage, subject: Subject) -> None:
        studies = 200 if stage.quick else 10_000
        fill(
            subject,
            replace(stage.corpus, matrix=16),
            (self._batch(subject, index) for index in range(studies)),
        )

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        repeat = 10 if stage.quick else 50

        def search() -> Sample:
            asking = Asking([f"/studies?StudyDate={_DAY}&limit=1000"], JSON, _RESULTS * 8)
            load = wrk.run(
                stage.peers,
                subject.web(),
                asking,
                connections=1,
                seconds=stage.seconds,
                scratch=stage.memory / turn,
            )
            return Sample(load.requests, {QUERIES: load.rate, P99: load.p99 / 1000})

        def find() -> Sample:
            taken = query.find(stage.peers, subject.dimse(), _KEYS, repeat=repeat, expected=_RESULTS)
            return Sample(repeat, {QUERIES: repeat / taken})

        yield search if case == _QIDO else find

    def _batch(self, subject: Subject, index: int) -> Batch:
        day = _DAY if index < _RESULTS else f"2024{1 + index % _OTHER_DAYS // 28:02d}{1 + index % 28:02d}"
        return Batch(
            f"{self.number}-{subject.name}-{index}", 10 if index >= _RESULTS else 1, patient=index, date=day
        )
