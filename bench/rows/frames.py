"""Row 5: frames and instances that were read before, over one to a hundred connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.clients import wrk
from bench.clients.wrk import Asking
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import Aim
from bench.rows.archives import archives, at_least
from bench.rows.filling import fill
from bench.rows.row import Row, Sample, Stage
from bench.subjects.static_nginx import StaticNginx
from bench.subjects.subject import Subject

RATE = "requests/s"
P99 = "p99 ms"
FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
INSTANCES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_SLICES = 100


class Frames(Row):
    """wrk asks for the slices of one study, one after the other and again."""

    number = 5
    title = "Frames and instances, hot, 1-100 connections"
    unit = "request"
    client = "wrk, 2 threads, HTTP/1.1"
    aims = (*at_least(RATE, 10), Aim(RATE, "archive", "nginx-static", at_least=0.6))
    notes = (
        "Frames of 512 KiB. Ours and the static files go over TLS, Orthanc's answers without.",
        "Every answer is a success and has all its bytes, or the subject has failed.",
    )

    def cases(self, stage: Stage) -> Sequence[str]:
        if stage.quick:
            return ["frames, 10 connections", "instances, 10 connections"]
        kinds = ("frames", "instances")
        return [f"{kind}, {count} connection{'s' * (count > 1)}" for kind in kinds for count in (1, 10, 100)]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return [*archives(peers, in_ceph=True), StaticNginx()]

    def prepare(self, stage: Stage, subject: Subject) -> None:
        batch = self._batch(subject)
        if not isinstance(subject, StaticNginx):
            fill(subject, stage.corpus, [batch])
            return
        for index in range(batch.count):
            file = stage.corpus.file(batch, index)
            (subject.files / f"{index}.dcm").write_bytes(file)
            (subject.files / f"{index}.raw").write_bytes(file[-stage.corpus.pixel_bytes :])

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        kind, connections = case.split(maxsplit=1)[0].rstrip(","), int(case.split()[1])
        asking = Asking(
            self._paths(stage, subject, kind),
            FRAMES if kind == "frames" else INSTANCES,
            stage.corpus.pixel_bytes,
        )

        def measure() -> Sample:
            load = wrk.run(
                stage.peers, subject.web(), asking, connections=connections, seconds=stage.seconds,
                scratch=stage.memory / turn,
            )  # fmt: skip
            return Sample(load.requests, {RATE: load.rate, P99: load.p99 / 1000})

        yield measure

    def _paths(self, stage: Stage, subject: Subject, kind: str) -> list[str]:
        batch, seed = self._batch(subject), stage.corpus.seed
        if isinstance(subject, StaticNginx):
            return [f"/{index}.{'raw' if kind == 'frames' else 'dcm'}" for index in range(batch.count)]
        series = f"/studies/{batch.study(seed)}/series/{batch.series(seed)}"
        suffix = "/frames/1" if kind == "frames" else ""
        return [f"{series}/instances/{batch.instance(seed, index)}{suffix}" for index in range(batch.count)]

    def _batch(self, subject: Subject) -> Batch:
        return Batch(f"{self.number}-{subject.name}", _SLICES)
