"""Row 9: a whole study of a thousand slices, by WADO-RS, C-GET and C-MOVE."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.clients import query
from bench.clients.web import Connection
from bench.corpus import Batch
from bench.errors import ClientError
from bench.peers import Peers
from bench.rows.archives import archives, at_least
from bench.rows.filling import fill
from bench.rows.frames import INSTANCES
from bench.rows.receive import RATE
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject

_WADO, _GET, _MOVE = "WADO-RS multipart", "C-GET", "C-MOVE"


class Study(Row):
    """One caller, everything in one answer; what comes is written to memory, or counted and let go."""

    number = 9
    title = "Whole study: WADO-RS multipart, C-GET, C-MOVE"
    unit = "instance"
    client = "one HTTP connection of a Python process; getscu; movescu, which also receives"
    aims = (*at_least(RATE, 3, _WADO), *at_least(RATE, 1.5, _GET), *at_least(RATE, 1.5, _MOVE))
    notes = ("Slices of 512 KiB, read once before. Ours goes over TLS, Orthanc's HTTP without.",)

    def cases(self, stage: Stage) -> Sequence[str]:
        return [_WADO, _GET, _MOVE]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers, in_ceph=True)

    def prepare(self, stage: Stage, subject: Subject) -> None:
        fill(subject, stage.corpus, [self._batch(stage, subject)])

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        batch, folder = self._batch(stage, subject), stage.memory / turn
        study = batch.study(stage.corpus.seed)

        def wado() -> float:
            begun = time.monotonic()
            with Connection(subject.web()) as connection:
                size = connection.size(f"/studies/{study}", INSTANCES)
            if size < batch.count * stage.corpus.pixel_bytes:
                raise ClientError(
                    f"{size} bytes came", f"{batch.count} slices have more", "See the subject's log."
                )
            return time.monotonic() - begun

        def get() -> float:
            return query.get(stage.peers, subject.dimse(), study, folder, expected=batch.count)

        def move() -> float:
            port = subject.destination()
            return query.move(stage.peers, subject.dimse(), study, folder, port=port, expected=batch.count)

        retrieve = {_WADO: wado, _GET: get, _MOVE: move}[case]
        try:
            yield lambda: Sample(batch.count, {RATE: batch.count / retrieve()})
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _batch(self, stage: Stage, subject: Subject) -> Batch:
        return Batch(f"{self.number}-{subject.name}", 100 if stage.quick else 1000)
