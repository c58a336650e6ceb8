"""Row 4: STOW-RS, in requests of one, ten and a hundred slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.clients.web import Connection, StowBody, stowed
from bench.corpus import Batch
from bench.peers import Peers
from bench.rows.archives import archives, at_least
from bench.rows.filling import wait_until_found
from bench.rows.row import Row, Sample, Stage
from bench.rows.store import FOUND, TAKEN
from bench.subjects.subject import Subject, WebAddress

_CONNECTIONS = 4


class Stow(Row):
    """From the first byte until a search finds every instance."""

    number = 4
    title = "STOW-RS, 1/10/100 parts a request"
    unit = "instance"
    client = f"{_CONNECTIONS} kept-alive connections of one Python process; bodies made beforehand"
    aims = at_least(FOUND, 4)
    notes = ("Slices of 512 KiB, durable as in row 2. Ours is asked over TLS, Orthanc without.",)

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["1 part", "10 parts", "100 parts"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return archives(peers)

    @contextmanager
    def measurement(
        self, stage: Stage, subject: Subject, case: str, turn: str
    ) -> Iterator[Callable[[], Sample]]:
        parts = int(case.split(maxsplit=1)[0])
        count = {1: 80, 10: 160, 100: 400}[parts] * (1 if stage.quick else 2)
        batch = Batch(turn, count)
        bodies = stowed(list(stage.corpus.files(batch)), parts)

        def measure() -> Sample:
            begun = time.monotonic()
            with ThreadPoolExecutor(_CONNECTIONS) as pool:
                lanes = [bodies[lane::_CONNECTIONS] for lane in range(_CONNECTIONS)]
                for done in [pool.submit(_send, subject.web(), lane) for lane in lanes]:
                    done.result()
            taken = time.monotonic() - begun
            wait_until_found(subject, {batch.study(stage.corpus.seed): count})
            return Sample(count, {FOUND: count / (time.monotonic() - begun), TAKEN: count / taken})

        yield measure


def _send(address: WebAddress, bodies: Sequence[StowBody]) -> None:
    with Connection(address) as connection:
        for body in bodies:
            connection.store(body)
