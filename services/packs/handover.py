"""From sealed packs to the archive: first into the store, where they can be forwarded, then into the index.

The two steps do not wait for each other: while the index is away packs are stored and leave for the centre,
and their rows follow. A pack's file stays until its rows are there, so that a restart knows what is missing;
each step may be repeated, and repeating one that was done changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.common.clock import Clock
from services.common.durable import sync_directory
from services.common.errors import NoRoom, Unavailable
from services.packs.footer import Footer, PackError
from services.packs.gathering import SealingRules
from services.packs.pack import footer_of
from services.packs.steps import Pause, Worker

if TYPE_CHECKING:
    from services.archive.ports import PackSink

logger = logging.getLogger(__name__)


class HandoverObserver(Protocol):
    """Where the handover reports what it did, for metrics."""

    def pack_committed(self, footer: Footer, size: int) -> None:
        """A pack of `size` bytes lies in store and index."""

    def step_failed(self, step: str) -> None:
        """`store` or `commit` failed and will be tried again."""

    def quarantined(self) -> None:
        """A file that is no sound pack was set aside for support."""


class Handover:
    """The sealed packs in `directory`; one step each to store and to commit them, oldest first."""

    def __init__(
        self,
        directory: Path,
        sink: PackSink,
        *,
        quarantine: Path,
        rules: SealingRules,
        observer: HandoverObserver,
        clock: Clock,
    ) -> None:
        self._directory, self._sink, self._quarantine = directory, sink, quarantine
        self._observer = observer
        self._wake = threading.Condition()
        self._worker = Worker(self._wake, rules, clock)
        self._clock = clock
        self._sealed: deque[Path] = deque()
        self._stored: deque[Path] = deque()
        self._pauses = {"store": Pause(rules, clock), "commit": Pause(rules, clock)}

    def recover(self) -> Iterator[Footer]:
        """Take up the packs that an earlier process left, oldest first; the footer of each sound one."""
        for path in sorted(self._directory.glob("*.pack"), key=lambda path: path.stat().st_mtime_ns):
            try:
                footer = footer_of(path)
            except PackError as problem:
                self._set_aside(path, problem)
                continue
            self.add(path)
            yield footer

    def add(self, path: Path) -> None:
        """Take a pack file that is durable under its name; it belongs to the handover from now on."""
        with self._wake:
            self._sealed.append(path)
            self._wake.notify_all()

    def start(self) -> None:
        """Run each step on a thread of its own."""
        self._worker.start("packs-store", self.store_next, lambda: bool(self._sealed))
        self._worker.start("packs-commit", self.commit_next, lambda: bool(self._stored))

    def stop(self) -> None:
        """End the threads. What is not committed stays on disk for the next start."""
        self._worker.stop()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that run the steps; none before `start`."""
        return self._worker.threads

    def __len__(self) -> int:
        with self._wake:
            return len(self._sealed) + len(self._stored)

    def store_next(self) -> float | None:
        """Bring one pack into the store; when to call again, None when no pack waits for it."""
        return self._take("store", self._sealed, self._store)

    def commit_next(self) -> float | None:
        """Bring one stored pack into the index; when to call again, None when no pack waits for it."""
        return self._take("commit", self._stored, self._commit)

    def _take(self, step: str, queue: deque[Path], act: Callable[[Path, Footer], None]) -> float | None:
        pause = self._pauses[step]
        with self._wake:
            if not queue:
                return None
            if not pause.over:
                return pause.until
            path = queue[0]
        try:
            try:
                footer = footer_of(path)
            except PackError as problem:
                self._set_aside(path, problem)
                with self._wake:
                    queue.popleft()
            else:
                act(path, footer)
        except Exception as problem:
            logger.exception("step %s of pack %s failed and is tried again", step, path.stem)
            # Away or full is so for all, and the first version of an instance shall stay the first one;
            # anything else is this pack's own trouble and must not hold up the others.
            if not isinstance(problem, Unavailable | NoRoom):
                with self._wake:
                    queue.rotate(-1)
            self._observer.step_failed(step)
            return pause.failed()
        pause.succeeded()
        return self._clock.monotonic()

    def _store(self, path: Path, footer: Footer) -> None:
        self._sink.store(path, footer)
        with self._wake:
            self._stored.append(self._sealed.popleft())
            self._wake.notify_all()

    def _commit(self, path: Path, footer: Footer) -> None:
        size = path.stat().st_size
        self._sink.commit(path, footer)
        path.unlink(missing_ok=True)
        with self._wake:
            self._stored.popleft()
        self._observer.pack_committed(footer, size)

    def _set_aside(self, path: Path, problem: PackError) -> None:
        path.rename(self._quarantine / path.name)
        for directory in (self._quarantine, self._directory):
            sync_directory(directory)
        logger.critical("pack %s set aside: %s", path.name, problem)
        self._observer.quarantined()
