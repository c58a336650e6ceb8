"""Row 3: whether storing gets slower while the index grows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.clients import storescu
from bench.corpus import Batch
from bench.peers import Peers
from bench.results import Aim
from bench.rows.archives import archives
from bench.rows.filling import fill, wait_until_found
from bench.rows.receive import RATE
from bench.rows.row import Row, Sample, Stage
from bench.statistics import median
from bench.subjects.subject import Subject

SHARE = "share of the rate at the beginning"
_ASSOCIATIONS, _IN_STUDY = 4, 100


class Growth(Row):
    """The same batch is stored into an index of ever more rows; each size is reached by storing, and not by SQL."""

    number = 3
    title = "Growth of the index"
    unit = "instance"
    client = f"storescu, {_ASSOCIATIONS} associations; filled by STOW-RS"
    aims = (Aim(SHARE, "archive", at_least=0.9),)
    notes = (
        "What fills the index has tiny pixels, what is measured 512 KiB a slice; rates are of acknowledged instances.",
        "A million instances are part of a run with --million alone: Orthanc needs hours to take them.",
    )

    def __init__(self) -> None:
        self._first: dict[str, list[float]] = {}
        self._filled: dict[str, int] = {}

    def cases(self, stage: Stage) -> Sequence[str]:
        sizes = (500, 2_000) if stage.quick else (500, 50_000)
        return [f"{size} instances" for size in (*sizes, *([1_000_000] if stage.million else []))]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers)

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        self._grow(stage, subject, int(case.split(maxsplit=1)[0]))
        count = (40 if stage.quick else 100) * _ASSOCIATIONS
        folder = stage.memory / turn
        batches = [Batch(f"{turn}/{lane}", count // _ASSOCIATIONS) for lane in range(_ASSOCIATIONS)]
        for lane, batch in enumerate(batches):
            stage.corpus.write(batch, folder / str(lane))
        folders = [folder / str(lane) for lane in range(_ASSOCIATIONS)]
        first = self._first.setdefault(subject.name, [])

        def measure() -> Sample:
            rate = count / storescu.send(stage.peers, folders, subject.dimse(), count)
            wait_until_found(subject, {batch.study(stage.corpus.seed): batch.count for batch in batches})
            if case == self.cases(stage)[0]:
                first.append(rate)
            return Sample(count, {RATE: rate, SHARE: rate / median(first)})

        try:
            yield measure
        finally:
            shutil.rmtree(folder)

    def _grow(self, stage: Stage, subject: Subject, size: int) -> None:
        """Fill the index up to `size`, a hundred instances a study; nothing where it is that large already."""
        there = self._filled.get(subject.name, 0)
        studies = range(there // _IN_STUDY, size // _IN_STUDY)
        names = (f"{self.number}-{subject.name}-fill-{index}" for index in studies)
        fill(subject, replace(stage.corpus, matrix=16), (Batch(name, _IN_STUDY) for name in names))
        self._filled[subject.name] = max(there, size)
