"""Compaction: packs with many dead bytes, or many small packs of one study, become new packs (contracts, section 19).

The steps, each of which a crash may end with nothing lost:

1. the new pack is written to the spool, every instance scanned and compared with its old footer;
2. it is put into the store (an object without rows: its instances are found in the old packs still);
3. in one transaction its row is made, the instances' rows point into it, and the old packs are marked retired;
4. after a grace, in which readers that know the old place finish, `sweep` removes the old objects.

The new pack's content and name depend on the old packs and on the fates of their instances alone, so a step
that is done again meets what it made before.
"""

from __future__ import annotations

import logging
import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from services.archive.errors import translate_store
from services.archive.index.rebuild import stored_footer
from services.archive.index.records import PackRecord
from services.archive.ports import ObjectDamaged, ObjectMissing, ObjectStore
from services.archive.upkeep.plan import Fate, Rules, Source, StudyState, fates_of, groups_of
from services.common.clock import Clock
from services.packs.instance import InstanceError, scan
from services.packs.pack import Footer, PackedInstance, PackError, PackWriter, sha256_of, verify

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Move:
    """One living version and where it will lie."""

    sop_instance_uid: str
    digest: str
    old_pack: str
    offset: int


@dataclass(frozen=True, slots=True)
class NewPack:
    """The new pack's row, and how many instances it holds, hidden ones too."""

    record: PackRecord
    instances: int


class CompactionLedger(Protocol):
    """What compaction asks of the index. Every method may raise `IndexUnavailable`."""

    def alone(self) -> AbstractContextManager[None]:
        """For the time of the block no other upkeep that moves or removes works on this archive. Raises `Busy`."""

    def studies_worth_a_look(self, quiet_since: datetime, fewest_packs: int) -> list[tuple[str, str]]:
        """Institution and UID of studies with dead instances or many packs, untouched since `quiet_since`."""

    def pack_keys(self, institution: str, study_uid: str) -> list[str]:
        """The keys of a study's packs that are not retired, oldest first (`sealed_at`, key)."""

    def study_state(self, institution: str, study_uid: str) -> StudyState:
        """Where its living versions lie and what of it is hidden."""

    def move(self, pack: NewPack | None, moves: Sequence[Move], retired: Sequence[str]) -> bool:
        """Enter the new pack (None: nothing is left to keep), move the rows, retire the old packs; all or nothing.

        False, and nothing changed, where an old pack would still be needed or a row is not where it was.
        """


@dataclass(slots=True)
class Compacted:
    """What a run did. `skipped` are studies that changed meanwhile or whose packs are not what the index says."""

    studies: int = 0
    old_packs: int = 0
    new_packs: int = 0
    freed_bytes: int = 0
    skipped: int = 0


class Compaction:
    """Writes packs anew; the spool's directory holds one new pack at a time."""

    def __init__(
        self,
        store: ObjectStore,
        ledger: CompactionLedger,
        clock: Clock,
        directory: Path,
        *,
        rules: Rules | None = None,
        step: Callable[[Compacted], None] = lambda _: None,
    ) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._directory, self._rules, self._step = directory, rules or Rules(), step

    def run(self, quiet_since: datetime) -> Compacted:
        """Compact every study that is worth it. Raises `IndexUnavailable`, `StoreAway`, `NoRoom`, `Busy`; run again."""
        done = Compacted()
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._ledger.alone():
            for institution, study_uid in self._ledger.studies_worth_a_look(
                quiet_since, self._rules.fewest_packs
            ):
                self.compact_study(institution, study_uid, done)
                self._step(done)
        return done

    def compact_study(self, institution: str, study_uid: str, done: Compacted) -> None:
        """One study; one whose bytes or rows are not as they should be is left as it is, and counted."""
        try:
            with translate_store():
                sources = self._sources(institution, study_uid)
            groups = groups_of(sources, self._rules)
            for group in groups:
                self._rewrite(group, done)
            done.studies += bool(groups)
        except _NotAsItShouldBe as error:
            done.skipped += 1
            _log.warning(
                "study is not compacted: %s",
                error,
                extra={"study_uid": study_uid, "institution": institution},
            )

    def _sources(self, institution: str, study_uid: str) -> list[Source]:
        state = self._ledger.study_state(institution, study_uid)
        now, sources = self._clock.now(), []
        for key in self._ledger.pack_keys(institution, study_uid):
            try:
                footer, length = stored_footer(self._store, key)
            except (PackError, ObjectMissing, ObjectDamaged) as error:
                raise _NotAsItShouldBe(f"{key} cannot be read ({error}); run a check") from None
            fates = fates_of(footer, state, now, self._rules)
            if Fate.UNKNOWN in fates:
                raise _NotAsItShouldBe(f"{key} holds an instance that the index lacks; run rebuild")
            sources.append(Source(key, length, footer, fates))
        return sources

    def _rewrite(self, group: Sequence[Source], done: Compacted) -> None:
        retired = [source.footer.pack_id for source in group]
        freed = sum(source.length for source in group)
        if not any(source.copied for source in group):
            if not self._ledger.move(None, [], retired):
                raise _NotAsItShouldBe("it changed meanwhile")
            done.old_packs += len(group)
            done.freed_bytes += freed
            return
        with self._new_pack(group) as path:
            footer = self._fill(path, group)
            # An interrupted run's new pack, entered by a start or a sweep, is one of its own sources.
            retired = [pack_id for pack_id in retired if pack_id != footer.pack_id]
            if not retired:
                return  # nothing would change
            length = path.stat().st_size
            with translate_store():
                self._store.put(footer.key, path, length, sha256_of(path))
                key_id = self._store.key_id(footer.key)
        new = NewPack(_record(footer, length, key_id), len(footer.instances))
        if not self._ledger.move(new, _moves(group, footer), retired):
            raise _NotAsItShouldBe("it changed meanwhile")
        done.old_packs += len(retired)
        done.new_packs += 1
        done.freed_bytes += freed - length
        _log.info(
            "packs compacted",
            extra={"pack_id": footer.pack_id, "study_uid": footer.study_uid, "count": len(group)},
        )

    @contextmanager
    def _new_pack(self, group: Sequence[Source]) -> Iterator[Path]:
        """A file for the new pack that is gone afterwards, and so are those that a crash left."""
        for leftover in self._directory.glob("*.compacting"):
            leftover.unlink()
        path = self._directory / f"{group[0].footer.pack_id}.compacting"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _fill(self, path: Path, group: Sequence[Source]) -> Footer:
        first = group[0].footer
        with path.open("xb") as target:
            writer = PackWriter(
                target, region=first.region, institution=first.institution, site=first.site,
                study_uid=first.study_uid, key_id=first.key_id,
            )  # fmt: skip
            for source in group:
                for one in source.copied:
                    self._copy(writer, source, one)
            # Not the present: the place of its instances among the study's versions is their oldest pack's.
            footer = writer.finish(datetime.fromisoformat(first.sealed_at))
        verify(path)
        return footer

    def _copy(self, writer: PackWriter, source: Source, one: PackedInstance) -> None:
        with tempfile.TemporaryFile(dir=self._directory) as file:
            with translate_store():
                for piece in self._store.stream(source.key, one.offset, one.length):
                    file.write(piece)
            file.flush()
            body = _mapped(file)
            try:
                instance = scan(body)
            except InstanceError as error:
                raise _NotAsItShouldBe(f"{source.key} is damaged ({error}); run a check") from None
            if instance.digest != one.digest or instance.sop_instance_uid != one.sop_instance_uid:
                raise _NotAsItShouldBe(f"{source.key} has altered bytes; run a check")
            writer.add(
                body,
                instance,
                received_at=one.received_at,
                calling_ae=one.calling_ae,
                called_ae=one.called_ae,
            )


class _NotAsItShouldBe(Exception):
    """A study is left alone; the text says why and what to do."""


def _mapped(file: BinaryIO) -> memoryview:
    # Not closed by hand: a scan's error that is on its way up may still hold a view of it.
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _record(footer: Footer, length: int, key_id: str | None) -> PackRecord:
    return PackRecord(
        footer.pack_id, footer.region, footer.institution, footer.site, footer.study_uid, footer.key, length,
        datetime.fromisoformat(footer.sealed_at), key_id or footer.key_id,
    )  # fmt: skip


def _moves(group: Sequence[Source], footer: Footer) -> list[Move]:
    """The new places, in the order in which the instances were copied."""
    old = [
        (source, one) for source in group
        for one, fate in zip(source.footer.instances, source.fates, strict=True) if fate is not Fate.DROPPED
    ]  # fmt: skip
    moved = {
        (source.footer.pack_id, one.offset)
        for source in group
        for one, fate in zip(source.footer.instances, source.fates, strict=True)
        if fate is Fate.MOVED
    }
    return [
        Move(new.sop_instance_uid, new.digest, source.footer.pack_id, new.offset)
        for (source, one), new in zip(old, footer.instances, strict=True)
        if (source.footer.pack_id, one.offset) in moved
    ]
