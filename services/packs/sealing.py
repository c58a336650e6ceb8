"""Sealing: from durable records to packs in the archive (docs/contracts.md, sections 5 and 6).

Records of one study gather until a rule says *now*; then they become a pack file that is fsynced and renamed
into place, the log releases them, and the pack is handed over. Each step can be repeated after a crash:
nothing is lost, and what was sealed once is not sealed again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.common.clock import Clock, SystemClock
from services.common.durable import replace_file, sync_directory
from services.packs.gathering import Closed, Gathering, SealingRules
from services.packs.handover import Handover, HandoverObserver
from services.packs.instance import InstanceError, Limits, scan
from services.packs.pack import Footer, PackError, PackWriter
from services.packs.segment import Record, RecordDamaged, SegmentLog
from services.packs.steps import Pause, Worker

if TYPE_CHECKING:
    from services.archive.ports import PackSink

__all__ = ["Sealer", "SealingObserver", "SealingRules"]

logger = logging.getLogger(__name__)


class SealingObserver(HandoverObserver, Protocol):
    """Where sealing reports what it did, for metrics; a failed step here is called `seal`."""

    def pack_sealed(self, footer: Footer, size: int) -> None:
        """A pack of `size` bytes lies in place; its records are released."""


class _Unobserved:
    def pack_sealed(self, footer: Footer, size: int) -> None: ...
    def pack_committed(self, footer: Footer, size: int) -> None: ...
    def step_failed(self, step: str) -> None: ...
    def quarantined(self) -> None: ...


class Sealer:
    """Turns the records of one `SegmentLog` into packs and hands them over to the archive.

    `directory` is on the same file system as the log and belongs to this sealer alone; `quarantine` keeps
    what could not be understood. `start` runs it on threads; `seal_due`, and `store_next` and `commit_next` of
    `handover`, are the steps themselves, for callers that drive their own clock.
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
        self._log, self._directory, self._region = log, directory, region
        self._quarantine, self._limits = quarantine, limits or Limits()
        self._observer: SealingObserver = observer or _Unobserved()
        self._clock, rules = clock or SystemClock(), rules or SealingRules()
        self._wake = threading.Condition()
        self._worker = Worker(self._wake, rules, self._clock)
        self._gathering = Gathering(rules)
        # In packs already, but the log does not know it yet.
        self._to_release: deque[list[Record]] = deque()
        self._pause = Pause(rules, self._clock)
        self.handover = Handover(
            directory, sink, quarantine=quarantine, rules=rules, observer=self._observer, clock=self._clock
        )
        for folder in (directory, quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        self._recover()
        log.subscribe(self.offer)

    def start(self) -> None:
        """Seal, store and commit on threads of their own, so that a slow step never holds up one before it."""
        self._worker.start("packs-seal", self.seal_due, lambda: bool(self._gathering or self._to_release))
        self.handover.start()

    def stop(self) -> None:
        """End the threads. What is not sealed or committed stays on disk for the next start."""
        self._worker.stop()
        self.handover.stop()

    def offer(self, record: Record) -> None:
        """Take a durable record; never blocks on a disk."""
        with self._wake:
            self._gathering.add(record, self._clock.monotonic())
            self._wake.notify_all()

    def association_ended(self, association: str) -> None:
        """Seal at once the studies that this association sent."""
        with self._wake:
            self._gathering.close_association(association)
            self._wake.notify_all()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads without which nothing reaches the archive; none before `start`."""
        return [*self._worker.threads, *self.handover.threads]

    @property
    def unsealed_bytes(self) -> int:
        """Bytes of acknowledged instances that lie in the segment log only."""
        with self._wake:
            return self._gathering.bytes

    @property
    def uncommitted_packs(self) -> int:
        """Packs that lie sealed and wait for store or index."""
        return len(self.handover)

    def seal_due(self) -> float | None:
        """Seal every group whose time has come; the monotonic time of the next, None when nothing waits."""
        with self._wake:
            self._gathering.close_due(self._clock.monotonic())
        closed = self._gathering.closed
        try:
            while self._pause.over and (self._to_release or closed):
                if self._to_release:
                    self._log.release(self._to_release[0])
                    self._to_release.popleft()
                else:
                    self._seal(closed[0])
                self._pause.succeeded()
        except Exception as problem:
            logger.exception("sealing failed and is tried again; the records stay in the segment log")
            # The disk's trouble is everybody's; anything else is this study's own and must not hold up the others.
            if not isinstance(problem, OSError):
                with self._wake:
                    closed.rotate(-1)
            self._pause.failed()
            self._observer.step_failed("seal")
        with self._wake:
            if self._to_release or closed:
                return self._pause.until
            return self._gathering.next_due()

    def _seal(self, closed: Closed) -> None:
        """One pack file of these records, in place and durable; then the log may forget them."""
        records = closed.records
        part = self._directory / f"{records[0].segment:016d}-{records[0].offset}.part"
        try:
            sealed = self._write(part, closed)
        except PackError as problem:
            part.unlink(missing_ok=True)
            self._set_aside(closed, problem)
            sealed = None
        except Exception:
            part.unlink(missing_ok=True)  # a full disk needs the room that half a pack takes
            raise
        with self._wake:
            # From here on it is sealed: whatever fails later, these records make no second pack.
            self._gathering.closed.popleft()
        if sealed is None:
            self._log.release(records)
            return
        path, footer, size = sealed
        try:
            self._log.release(records)
        except Exception:
            self._to_release.append(records)
            raise
        finally:
            self.handover.add(path)
            self._observer.pack_sealed(footer, size)

    def _write(self, part: Path, closed: Closed) -> tuple[Path, Footer, int] | None:
        """Path, footer and size of the pack, in place; None when none of the records could go into one."""
        study = closed.study
        with part.open("wb") as file:
            writer = PackWriter(
                file,
                region=self._region,
                institution=study.institution,
                site=study.site,
                study_uid=study.study_uid,
            )
            count = sum(self._add(writer, record) for record in _without_repeats(closed.records))
            footer = writer.finish(self._clock.now())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if count == 0:
            part.unlink()
            return None
        path = self._directory / f"{footer.pack_id}.pack"
        part.rename(path)
        sync_directory(self._directory)
        return path, footer, size

    def _add(self, writer: PackWriter, record: Record) -> bool:
        """Whether the record went into the pack; one that cannot is set aside and stops nobody else."""
        header = record.header
        try:
            body = self._log.read(record)
        except RecordDamaged as problem:
            self._log.preserve(record)
            logger.critical(
                "record of %s is damaged, its segment set aside: %s", header.sop_instance_uid, problem
            )
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
            replace_file(target, body)
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

    def _set_aside(self, closed: Closed, problem: PackError) -> None:
        """Keep records that can never be a pack where support finds them, out of the way of all others."""
        for record in closed.records:
            self._log.preserve(record)
        logger.critical(
            "study %s of %s cannot be a pack, its segments set aside: %s",
            closed.study.study_uid,
            closed.study.institution,
            problem,
        )

    def _recover(self) -> None:
        """Take up what an earlier process left: packs to hand over, and records that are in none of them."""
        for part in self._directory.glob("*.part"):
            part.unlink()
        sealed = {
            (who.institution, who.sop_instance_uid, digest)
            for footer in self.handover.recover()
            for who, digest in footer.identities()
        }
        recovered = self._log.take_recovered()
        done = [record for record in recovered if _name(record) in sealed]
        if done:
            self._to_release.append(done)
        for record in recovered:
            if _name(record) not in sealed:
                self.offer(record)


def _name(record: Record) -> tuple[str, str, str]:
    return record.header.institution, record.header.sop_instance_uid, record.header.digest


def _without_repeats(records: Iterable[Record]) -> list[Record]:
    """One record for each identity and digest: a resend within the same pack is kept once."""
    return list({_name(record): record for record in reversed(list(records))}.values())[::-1]
