"""Sealing: from durable records to packs in the archive (docs/contracts.md, sections 5 and 6).

Records of one study gather until a rule says *now*; then they become a pack file that is fsynced and renamed
into place, the log releases them, and the pack is handed to a `PackSink` until that succeeds. Each step can
be repeated after a crash: nothing is lost, and what was sealed once is not sealed again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.common.clock import Clock, SystemClock
from services.common.durable import sync_directory
from services.packs.instance import InstanceError, Limits, scan
from services.packs.pack import Footer, PackError, PackWriter, footer_of
from services.packs.segment import Record, RecordDamaged, SegmentLog

if TYPE_CHECKING:
    from services.archive.ports import PackSink

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SealingRules:
    """When a pack is closed (section 5). Seconds and bytes."""

    idle_seconds: float = 2.0
    max_age_seconds: float = 2.0
    max_bytes: int = 64 << 20
    retry_seconds: float = 0.5
    max_retry_seconds: float = 60.0


class SealingObserver(Protocol):
    """Where sealing reports what it did, for metrics."""

    def pack_sealed(self, footer: Footer, size: int) -> None:
        """A pack of `size` bytes lies in place; its records are released."""

    def pack_committed(self, footer: Footer, size: int) -> None:
        """The sink took the pack."""

    def step_failed(self, step: str) -> None:
        """`seal` or `commit` failed and will be tried again."""

    def quarantined(self) -> None:
        """Bytes that cannot be sealed or committed were set aside for support."""


class _Unobserved:
    def pack_sealed(self, footer: Footer, size: int) -> None: ...
    def pack_committed(self, footer: Footer, size: int) -> None: ...
    def step_failed(self, step: str) -> None: ...
    def quarantined(self) -> None: ...


_Study = tuple[str, str, str]


@dataclass(slots=True)
class _Group:
    """Records of one study that will share a pack. `oldest` and `newest` are monotonic seconds."""

    oldest: float
    newest: float
    records: list[Record] = field(default_factory=list)
    bytes: int = 0
    associations: set[str] = field(default_factory=set)

    def due_at(self, rules: SealingRules) -> float:
        return min(self.newest + rules.idle_seconds, self.oldest + rules.max_age_seconds)


class Sealer:
    """Turns the records of one `SegmentLog` into packs and delivers them.

    `directory` is on the same file system as the log and belongs to this sealer alone; `quarantine` keeps
    what could not be understood. `start` runs it on two threads; `seal_due` and `commit_next` are the steps
    themselves, for callers that drive their own clock.
    """

    def __init__(
        self,
        log: SegmentLog,
        directory: Path,
        sink: PackSink,
        *,
        region: str,
        quarantine: Path,
        rules: SealingRules | None = None,
        limits: Limits | None = None,
        observer: SealingObserver | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._log, self._directory, self._sink, self._region = log, directory, sink, region
        self._quarantine, self._rules, self._limits = quarantine, rules or SealingRules(), limits or Limits()
        self._observer: SealingObserver = observer or _Unobserved()
        self._clock = clock or SystemClock()
        self._wake = threading.Condition()
        self._open: dict[_Study, _Group] = {}
        self._due: deque[tuple[_Study, list[Record]]] = deque()
        self._packs: deque[Path] = deque()
        self._failures = {"seal": 0, "commit": 0}
        self._not_before = {"seal": 0.0, "commit": 0.0}
        self._stopping = False
        self._threads: list[threading.Thread] = []
        for folder in (directory, quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        self._recover()
        log.subscribe(self.offer)

    def start(self) -> None:
        """Seal and commit on two threads, so that a slow sink never holds up sealing."""
        for name, step in (("seal", self.seal_due), ("commit", self.commit_next)):
            thread = threading.Thread(target=self._run, args=(step,), name=f"packs-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads. What is not sealed or committed stays on disk for the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def offer(self, record: Record) -> None:
        """Take a durable record; never blocks on a disk."""
        header, now = record.header, self._clock.monotonic()
        study = (header.institution, header.site, header.study_uid)
        with self._wake:
            group = self._open.get(study)
            if group is not None and group.bytes + record.length > self._rules.max_bytes:
                self._close(study)
                group = None
            if group is None:
                group = self._open[study] = _Group(oldest=now, newest=now)
            group.newest = now
            group.records.append(record)
            group.bytes += record.length
            group.associations.add(header.association)
            if group.bytes >= self._rules.max_bytes:
                self._close(study)
            self._wake.notify_all()

    def association_ended(self, association: str) -> None:
        """Seal at once the studies that this association sent."""
        with self._wake:
            for study in [study for study, group in self._open.items() if association in group.associations]:
                self._close(study)
            self._wake.notify_all()

    @property
    def unsealed_bytes(self) -> int:
        """Bytes of acknowledged instances that lie in the segment log only."""
        with self._wake:
            due = sum(record.length for _, records in self._due for record in records)
            return due + sum(group.bytes for group in self._open.values())

    @property
    def uncommitted_packs(self) -> int:
        """Packs that lie sealed and wait for the sink."""
        with self._wake:
            return len(self._packs)

    def seal_due(self) -> float | None:
        """Seal every group whose time has come; the monotonic time of the next, None when nothing waits."""
        now = self._clock.monotonic()
        with self._wake:
            for study in [study for study, group in self._open.items() if group.due_at(self._rules) <= now]:
                self._close(study)
            ready = now >= self._not_before["seal"]
        while ready and self._due:
            study, records = self._due[0]
            try:
                self._seal(study, records)
            except Exception:
                logger.exception("study %s could not be sealed and stays in the segment log", study[2])
                self._back_off("seal")
                break
            self._failures["seal"] = 0
            with self._wake:
                self._due.popleft()
                self._wake.notify_all()
        with self._wake:
            times = [group.due_at(self._rules) for group in self._open.values()]
            if self._due:
                times.append(self._not_before["seal"])
            return min(times, default=None)

    def commit_next(self) -> float | None:
        """Hand one pack to the sink; when to call again, None when no pack waits."""
        with self._wake:
            if not self._packs:
                return None
            if self._clock.monotonic() < self._not_before["commit"]:
                return self._not_before["commit"]
            path = self._packs[0]
        try:
            footer, size = footer_of(path), path.stat().st_size
        except PackError as problem:
            self._set_aside(path, problem)
            with self._wake:
                self._packs.popleft()
            return self._clock.monotonic()
        try:
            self._sink.commit(path, footer)
            path.unlink(missing_ok=True)
        except Exception:
            logger.exception("pack %s was not committed; its file stays and is tried again", footer.pack_id)
            with self._wake:
                self._packs.rotate(-1)  # a pack that the sink cannot take must not hold up the others
            return self._back_off("commit")
        self._failures["commit"] = 0
        with self._wake:
            self._packs.popleft()
        self._observer.pack_committed(footer, size)
        return self._clock.monotonic()

    def _run(self, step: Callable[[], float | None]) -> None:
        while True:
            again = step()
            with self._wake:
                if self._stopping:
                    return
                delay = None if again is None else again - self._clock.monotonic()
                # A record or pack that came between the step and this wait must not be slept over.
                if delay is None and self._has_work(step):
                    continue
                if delay is None or delay > 0:
                    self._wake.wait(delay)

    def _has_work(self, step: Callable[[], float | None]) -> bool:
        return bool(self._packs if step == self.commit_next else self._open or self._due)

    def _close(self, study: _Study) -> None:
        self._due.append((study, self._open.pop(study).records))

    def _back_off(self, step: str) -> float:
        self._failures[step] += 1
        delay = min(
            self._rules.max_retry_seconds, self._rules.retry_seconds * 2 ** min(self._failures[step] - 1, 20)
        )
        self._not_before[step] = self._clock.monotonic() + delay
        self._observer.step_failed(step)
        return self._not_before[step]

    def _seal(self, study: _Study, records: list[Record]) -> None:
        """One pack file of these records, in place and durable; then the log may forget them."""
        institution, site, study_uid = study
        part = self._directory / f"{records[0].segment:016d}-{records[0].offset}.part"
        with part.open("wb") as file:
            writer = PackWriter(
                file, region=self._region, institution=institution, site=site, study_uid=study_uid
            )
            count = sum(self._add(writer, record) for record in _without_repeats(records))
            footer = writer.finish(self._clock.now())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if count == 0:
            part.unlink()
        else:
            path = self._directory / f"{footer.pack_id}.pack"
            part.rename(path)
            sync_directory(self._directory)
            with self._wake:
                self._packs.append(path)
                self._wake.notify_all()
        self._log.release(records)
        if count:
            self._observer.pack_sealed(footer, size)

    def _add(self, writer: PackWriter, record: Record) -> bool:
        """Whether the record went into the pack; one that cannot is set aside and stops nobody else."""
        header = record.header
        try:
            body = self._log.read(record)
        except RecordDamaged as problem:
            self._log.preserve(record, self._quarantine)
            logger.critical(
                "record of %s is damaged, its segment set aside: %s", header.sop_instance_uid, problem
            )
            self._observer.quarantined()
            return False
        try:
            instance = scan(body, self._limits)
        except InstanceError as problem:
            instance = None
            reason = str(problem)
        else:
            reason = "its digest differs from the one taken on arrival"
        if instance is None or instance.digest != header.digest or instance.study_uid != header.study_uid:
            target = self._quarantine / f"{header.digest}.dcm"
            target.write_bytes(body)
            logger.critical("instance %s set aside as %s: %s", header.sop_instance_uid, target.name, reason)
            self._observer.quarantined()
            return False
        writer.add(
            body,
            instance,
            received_at=header.received_at,
            calling_ae=header.calling_ae,
            called_ae=header.called_ae,
        )
        return True

    def _set_aside(self, path: Path, problem: PackError) -> None:
        path.rename(self._quarantine / path.name)
        logger.critical("pack %s set aside: %s", path.name, problem)
        self._observer.quarantined()

    def _recover(self) -> None:
        """Take up what an earlier process left: packs to commit, and records that are in none of them."""
        sealed: set[tuple[str, str, str]] = set()
        for part in self._directory.glob("*.part"):
            part.unlink()
        for path in sorted(self._directory.glob("*.pack"), key=lambda path: path.stat().st_mtime_ns):
            try:
                footer = footer_of(path)
            except PackError as problem:
                self._set_aside(path, problem)
                continue
            self._packs.append(path)
            sealed.update(
                (who.institution, who.sop_instance_uid, digest) for who, digest in footer.identities()
            )
        recovered = self._log.take_recovered()
        done = [record for record in recovered if _name(record) in sealed]
        self._log.release(done)
        for record in recovered:
            if _name(record) not in sealed:
                self.offer(record)


def _name(record: Record) -> tuple[str, str, str]:
    return record.header.institution, record.header.sop_instance_uid, record.header.digest


def _without_repeats(records: Iterable[Record]) -> list[Record]:
    """One record for each identity and digest: a resend within the same pack is kept once."""
    return list({_name(record): record for record in reversed(list(records))}.values())[::-1]
