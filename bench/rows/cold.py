"""Row 6: frames that nobody has asked for yet: the gateway reads them from the object store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from bench.clients import wrk
from bench.clients.wrk import Asking
from bench.corpus import Batch
from bench.errors import ClientError
from bench.peers import Peers
from bench.results import Aim
from bench.rows.filling import fill
from bench.rows.frames import FRAMES, P99, RATE
from bench.rows.row import Row, Sample, Stage
from bench.subjects.archive import Archive
from bench.subjects.direct_rgw import DirectRgw
from bench.subjects.subject import Subject

_CASE = "frames, 10 connections"


class ColdFrames(Row):
    """wrk asks for each frame once; the same frames are asked of radosgw itself."""

    number = 6
    title = "Frames, cold, from Ceph"
    unit = "request"
    client = "wrk, 2 threads, HTTP/1.1"
    aims = (Aim(RATE, "archive", "rgw-direct", at_least=0.9),)
    notes = (
        "Frames of 512 KiB, encrypted (SSE-C). Both go over TLS; the archive's path has two of them.",
        "No frame is asked for twice of one subject.",
    )

    seconds = 2
    most_a_second = 1000
    """More than a subject answers: so many frames are stored for each second."""

    def __init__(self) -> None:
        self._turns: Counter[str] = Counter()

    def cases(self, stage: Stage) -> Sequence[str]:
        return [_CASE]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        archive = Archive(peers.ceph)
        return [archive, DirectRgw(archive)]

    def prepare(self, stage: Stage, subject: Subject) -> None:
        if isinstance(subject, Archive):
            fill(subject, stage.corpus, [self._batch(turn) for turn in range(stage.repeats + 1)])

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        batch = self._batch(self._turns[subject.name])
        self._turns[subject.name] += 1
        paths, own = self._asked(stage, subject, batch)
        asking = Asking(
            paths, FRAMES if isinstance(subject, Archive) else "*/*", stage.corpus.pixel_bytes, own
        )

        def measure() -> Sample:
            load = wrk.run(
                stage.peers, subject.web(), asking, connections=10, seconds=self.seconds, scratch=stage.memory / turn
            )  # fmt: skip
            if load.requests > batch.count:
                raise ClientError(
                    f"{load.requests} requests were answered",
                    f"there are {batch.count} frames: some were not cold",
                    "Make the batches of this row larger.",
                )
            return Sample(load.requests, {RATE: load.rate, P99: load.p99 / 1000})

        yield measure

    def _asked(
        self, stage: Stage, subject: Subject, batch: Batch
    ) -> tuple[Sequence[str], Sequence[Mapping[str, str]]]:
        seed = stage.corpus.seed
        study, series = batch.study(seed), batch.series(seed)
        instances = [batch.instance(seed, index) for index in range(batch.count)]
        if not isinstance(subject, DirectRgw):
            return [f"/studies/{study}/series/{series}/instances/{one}/frames/1" for one in instances], ()
        frames = subject.frames(study, series)
        return [frames[one][0] for one in instances], [frames[one][1] for one in instances]

    def _batch(self, turn: int) -> Batch:
        return Batch(f"{self.number}-{turn}", self.seconds * self.most_a_second)
