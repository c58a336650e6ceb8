"""Row 1: what receiving costs. One association, slices of 512 KiB, everyone's files in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.clients import storescu
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import Aim
from bench.rows.row import Row, Sample, Stage
from bench.subjects.archive import Archive
from bench.subjects.receivers import StockPynetdicom, Storescp
from bench.subjects.subject import Subject

RATE = "instances/s"


class Receive(Row):
    """Stored over one association by DCMTK's storescu, from its first byte to its release."""

    number = 1
    title = "C-STORE, 1 association, receive only"
    unit = "instance"
    client = "storescu, 1 process"
    aims = (
        Aim(RATE, "archive", "dcmtk", at_least=0.7),
        Aim(RATE, "archive", "pynetdicom", at_least=6),
    )
    notes = (
        "Everyone's files lie in memory, so that no disk is compared.",
        "The archive does more than it is compared with: it seals packs and keeps the index while it receives.",
    )
    in_memory = True

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["200 x 512 KiB" if stage.quick else "1000 x 512 KiB"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return [Archive(), Storescp(peers), StockPynetdicom()]

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        count = int(case.split(maxsplit=1)[0])
        folder = stage.memory / turn
        stage.corpus.write(Batch(turn, count), folder)

        def measure() -> Sample:
            seconds = storescu.send(stage.peers, [folder], subject.dimse(), count)
            return Sample(count, {RATE: count / seconds})

        try:
            yield measure
        finally:
            shutil.rmtree(folder)
