"""Row 2: stored so that it survives a power cut and is found by a search, over several associations at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.clients import storescu
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import CPU
from bench.rows.archives import archives, at_least, at_most
from bench.rows.filling import wait_until_found
from bench.rows.row import Row, Sample, Stage
from bench.subjects.subject import Subject

FOUND = "instances/s until found"
TAKEN = "instances/s acknowledged"


class Store(Row):
    """From the first byte until a search finds every instance; the studies are as many as the associations."""

    number = 2
    title = "C-STORE, 1/2/4/8 associations, indexed and durable"
    unit = "instance"
    client = "storescu, 1 process an association; QIDO-RS until all are found"
    aims = (*at_least(FOUND, 5), *at_most(CPU, 0.25))
    notes = (
        "Slices of 512 KiB; each answer after fdatasync on both sides (Orthanc: SyncStorageArea and PostgreSQL's fsync).",
        f"`{TAKEN}` ends with the last answer; `{FOUND}` when a search counts all of them.",
    )
    in_memory = False

    def cases(self, stage: Stage) -> Sequence[str]:
        return [f"{count} associations" for count in ((1, 4) if stage.quick else (1, 2, 4, 8))]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers)

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        associations = int(case.split(maxsplit=1)[0])
        count = (160 if stage.quick else 800) // associations
        folder = stage.memory / turn
        batches = [Batch(f"{turn}/{lane}", count) for lane in range(associations)]
        folders = [folder / str(lane) for lane in range(associations)]
        for batch, lane in zip(batches, folders, strict=True):
            stage.corpus.write(batch, lane)
        total = count * associations

        def measure() -> Sample:
            begun = time.monotonic()
            taken = storescu.send(stage.peers, folders, subject.dimse(), total)
            studies = {batch.study(stage.corpus.seed): count for batch in batches}
            wait_until_found(subject, studies)
            return Sample(total, {FOUND: total / (time.monotonic() - begun), TAKEN: total / taken})

        try:
            yield measure
        finally:
            shutil.rmtree(folder)
