"""Bringing into a subject what a row reads, and waiting until a search finds it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from bench.clients.web import Connection, stowed
from bench.corpus import Batch, Corpus
from bench.errors import ClientError
from bench.subjects.subject import Subject

PATIENCE_SECONDS = 180.0
_PARTS = 50


def fill(subject: Subject, corpus: Corpus, batches: Iterable[Batch]) -> None:
    """Store every batch by STOW-RS and wait until all of it is found."""
    waiting: list[bytes] = []
    studies: dict[str, int] = {}
    with Connection(subject.web()) as connection:
        for batch in batches:
            studies[batch.study(corpus.seed)] = batch.count
            for file in corpus.files(batch):
                waiting.append(file)
                if len(waiting) == _PARTS:
                    connection.store(*stowed(waiting, _PARTS))
                    waiting.clear()
        for body in stowed(waiting, _PARTS):
            connection.store(body)
    wait_until_found(subject, studies)


def wait_until_found(subject: Subject, studies: Mapping[str, int]) -> None:
    """Search until each study has its instances. Raises ClientError when that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Connection(subject.web()) as connection:
        for study, count in studies.items():
            while (found := connection.count(study)) < count:
                if time.monotonic() > deadline:
                    raise ClientError(
                        f"{found} of {count} acknowledged instances are found",
                        f"after {PATIENCE_SECONDS:.0f} s",
                        "See the subject's log.",
                    )
                time.sleep(0.02)
