"""Row 7: the metadata of a series, which a viewer waits for before it draws anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.clients import wrk
from bench.clients.web import JSON
from bench.clients.wrk import Asking
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import Aim
from bench.rows.archives import archives, at_least
from bench.rows.filling import fill
from bench.rows.frames import P99, RATE
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject

_SMALLEST_BYTES_PER_INSTANCE = 8  # gzipped


class Metadata(Row):
    """One caller asks for the same series again and again, gzip allowed."""

    number = 7
    title = "Series metadata, 300/1000/3000 instances"
    unit = "request"
    client = "wrk, 1 connection, HTTP/1.1, Accept-Encoding: gzip"
    aims = (*at_least(RATE, 100), Aim(P99, "archive", at_most=10))
    notes = ("CT headers as in row 1 over tiny pixels; the warm-up has read every series once.",)

    def cases(self, stage: Stage) -> Sequence[str]:
        return [f"{count} instances" for count in ((300, 1000) if stage.quick else (300, 1000, 3000))]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers)

    def prepare(self, stage: Stage, subject: Subject) -> None:
        fill(
            subject,
            replace(stage.corpus, matrix=16),
            [self._batch(subject, case) for case in self.cases(stage)],
        )

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        batch, seed = self._batch(subject, case), stage.corpus.seed
        path = f"/studies/{batch.study(seed)}/series/{batch.series(seed)}/metadata"
        asking = Asking([path], JSON, batch.count * _SMALLEST_BYTES_PER_INSTANCE)

        def measure() -> Sample:
            load = wrk.run(
                stage.peers, subject.web(), asking, connections=1, seconds=stage.seconds,
                scratch=stage.memory / turn,
            )  # fmt: skip
            return Sample(load.requests, {RATE: load.rate, P99: load.p99 / 1000})

        yield measure

    def _batch(self, subject: Subject, case: str) -> Batch:
        return Batch(f"{self.number}-{subject.name}-{case}", int(case.split(maxsplit=1)[0]))
