"""Rules of `services.packs.sealing`: when a pack is closed; no crash loses or doubles an instance."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Condition, Event

import pytest

from services.common.clock import SystemClock
from services.common.errors import Unavailable
from services.packs.gathering import Closed
from services.packs.instance import scan
from services.packs.pack import Footer, verify
from services.packs.sealing import Sealer, SealingRules
from services.packs.segment import Record, RecordHeader, SegmentLog
from services.packs.steps import Worker
from tests.services.packs.synthetic import STUDY, ct

OTHER = "1.2.826.0.1.3680043.10.1338.2"


@dataclass
class HandClock:
    """A clock that a test turns."""

    seconds: float = 1000.0

    def now(self) -> datetime:
        return datetime(2025, 3, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Shelf:
    """A sink that keeps what it was given, and refuses while it is told to."""

    stored: list[Footer] = field(default_factory=list)
    footers: list[Footer] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    down: bool = False
    index_down: bool = False

    def store(self, path: Path, footer: Footer) -> None:
        assert verify(path) == footer
        if footer.study_uid in self.refuse:
            raise ConnectionError("the store does not like it")
        if self.down:
            raise Unavailable("the store does not answer")
        self.stored.append(footer)

    def commit(self, path: Path, footer: Footer) -> None:
        assert footer in self.stored
        if self.index_down:
            raise Unavailable("the index does not answer")
        self.footers.append(footer)

    def uids(self) -> list[str]:
        return [entry.sop_instance_uid for footer in self.footers for entry in footer.instances]


@dataclass
class Bench:
    """A log, a sealer and a sink on one directory."""

    directory: Path
    log: SegmentLog
    sealer: Sealer
    shelf: Shelf
    clock: HandClock

    def receive(
        self,
        uid: str,
        *,
        study: str = STUDY,
        association: str = "a1",
        pixels: bytes = bytes(48),
        institution: str = "yanan",
    ) -> Record:
        body = ct(uid, study=study, pixels=pixels)
        header = RecordHeader.for_instance(
            scan(body), institution=institution, site="yanchang", calling_ae="CT1", called_ae="PACS",
            received_at=self.clock.now(), association=association,
        )  # fmt: skip
        return self.log.append(header, body).result(10)

    def commit_all(self) -> None:
        for step in (self.sealer.handover.store_next, self.sealer.handover.commit_next):
            while (again := step()) is not None and again <= self.clock.seconds:
                pass

    def seal_after(self, seconds: float) -> int:
        self.clock.seconds += seconds
        self.sealer.seal_due()
        return self.sealer.uncommitted_packs


@contextmanager
def bench(
    directory: Path, shelf: Shelf | None = None, clock: HandClock | None = None, **rules: float
) -> Iterator[Bench]:
    clock, shelf = clock or HandClock(), shelf or Shelf()
    quarantine = directory / "quarantine"
    with SegmentLog(directory / "segments" / "0", headroom_bytes=0, quarantine=quarantine) as log:
        sealer = Sealer(
            log, directory / "sealing", shelf, region="local", quarantine=quarantine,
            rules=SealingRules(**rules), clock=clock,  # type: ignore[arg-type]
        )  # fmt: skip
        yield Bench(directory, log, sealer, shelf, clock)


def test_a_study_is_sealed_when_its_association_ends(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1", association="a1")
        b.receive("2.1", association="a2", study=OTHER)
        b.sealer.association_ended("a1")
        assert b.seal_after(0) == 1
        b.commit_all()
        assert [footer.study_uid for footer in b.shelf.footers] == [STUDY]


def test_a_study_is_sealed_after_it_was_idle(tmp_path: Path) -> None:
    with bench(tmp_path, idle_seconds=2.0, max_age_seconds=60.0) as b:
        b.receive("1.1")
        assert b.seal_after(1.9) == 0
        b.receive("1.2")
        assert b.seal_after(1.9) == 0
        assert b.seal_after(0.2) == 1


def test_a_study_that_never_rests_is_sealed_when_its_oldest_byte_is_old_enough(tmp_path: Path) -> None:
    with bench(tmp_path, idle_seconds=60.0, max_age_seconds=2.0) as b:
        for number in range(1, 20):
            b.receive(f"1.{number}")
            b.seal_after(0.12)
        assert b.sealer.uncommitted_packs == 1


def test_a_pack_is_closed_before_it_would_pass_its_size(tmp_path: Path) -> None:
    size = len(ct("1.1"))
    with bench(tmp_path, max_bytes=2 * size + 100) as b:
        for number in range(1, 6):
            b.receive(f"1.{number}")
        assert b.seal_after(0) == 2
        assert b.seal_after(2) == 3
        b.commit_all()
        assert [len(footer.instances) for footer in b.shelf.footers] == [2, 2, 1]


def test_a_single_instance_beyond_the_size_makes_a_pack_of_its_own(tmp_path: Path) -> None:
    with bench(tmp_path, max_bytes=10) as b:
        b.receive("1.1")
        assert b.seal_after(0) == 1


def test_a_pack_holds_one_study_of_one_institution(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1")
        b.receive("2.1", study=OTHER)
        b.receive("1.2")
        assert b.seal_after(2) == 2
        b.commit_all()
        assert sorted(len(footer.instances) for footer in b.shelf.footers) == [1, 2]
        assert {(f.region, f.institution, f.site) for f in b.shelf.footers} == {
            ("local", "yanan", "yanchang")
        }


def test_sealing_says_when_it_wants_to_be_called_again(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        assert b.sealer.seal_due() is None
        b.receive("1.1")
        assert b.sealer.seal_due() == b.clock.seconds + 2.0


def test_segments_are_released_once_the_pack_lies_in_place(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1")
        assert (b.log.live_records, b.sealer.unsealed_bytes > 0) == (1, True)
        b.seal_after(2)
        assert (b.log.live_records, b.sealer.unsealed_bytes) == (0, 0)
        assert len(list((tmp_path / "sealing").glob("*.pack"))) == 1
        b.commit_all()
        assert list((tmp_path / "sealing").iterdir()) == []
        assert list((tmp_path / "segments" / "0").glob("*.seg")) == []


def test_a_resend_of_the_same_bytes_is_packed_once_and_of_other_pixels_twice(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        for pixels in (bytes(48), bytes(48), b"\1" * 48):
            b.receive("1.1", pixels=pixels)
        b.seal_after(2)
        b.commit_all()
        assert b.shelf.uids() == ["1.1", "1.1"]
        assert len({entry.digest for entry in b.shelf.footers[0].instances}) == 2
        assert b.log.live_records == 0


def test_a_sink_that_fails_is_tried_again_with_growing_pauses_and_loses_nothing(tmp_path: Path) -> None:
    with bench(tmp_path, shelf=Shelf(down=True), retry_seconds=1.0, max_retry_seconds=4.0) as b:
        b.receive("1.1")
        b.seal_after(2)
        pauses = []
        for _ in range(4):
            again = b.sealer.handover.store_next()
            assert again is not None
            pauses.append(again - b.clock.seconds)
            b.clock.seconds = again
        assert pauses == [1.0, 2.0, 4.0, 4.0]
        b.shelf.down = False
        b.commit_all()
        assert b.shelf.uids() == ["1.1"]


def test_a_pack_that_the_sink_cannot_take_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with bench(tmp_path, shelf=Shelf(refuse={STUDY})) as b:
        b.receive("1.1")
        b.receive("2.1", study=OTHER)
        b.seal_after(2)
        for _ in range(3):
            again = b.sealer.handover.store_next()
            b.clock.seconds = again or b.clock.seconds
        b.commit_all()
        assert [footer.study_uid for footer in b.shelf.footers] == [OTHER]
        assert b.sealer.uncommitted_packs == 1


def test_while_the_index_is_away_packs_are_stored_at_once_and_committed_later_in_their_order(
    tmp_path: Path,
) -> None:
    with bench(tmp_path, shelf=Shelf(index_down=True)) as b:
        for number in range(1, 4):
            b.receive("1.1", pixels=bytes([number]) * 48)
            b.seal_after(2)
            b.commit_all()
            assert len(b.shelf.stored) == number
        assert b.shelf.footers == []
        assert b.sealer.uncommitted_packs == 3
        b.shelf.index_down = False
        b.clock.seconds += 60
        b.commit_all()
        # The first version of an instance is still the first one.
        assert b.shelf.footers == b.shelf.stored
        assert list((tmp_path / "sealing").iterdir()) == []


def test_packs_that_wait_for_the_index_are_committed_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path, shelf=Shelf(index_down=True)) as b:
        b.receive("1.1")
        b.seal_after(2)
        b.commit_all()
    shelf = Shelf()
    with bench(tmp_path, shelf=shelf) as b:
        b.commit_all()
        assert b.seal_after(2) == 0
    assert shelf.uids() == ["1.1"]


def test_a_release_that_the_disk_does_not_take_is_repeated_and_makes_no_second_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1")
        b.receive("2.1", study=OTHER)
        b.sealer.association_ended("a1")
        with monkeypatch.context() as patched:
            patched.setattr(b.log, "release", lambda _: no_space(0))
            b.seal_after(2)
        assert b.log.live_records == 2
        b.seal_after(60)
        b.commit_all()
        assert b.log.live_records == 0
        assert sorted(b.shelf.uids()) == ["1.1", "2.1"]


def test_a_release_that_a_crash_left_out_is_made_up_for_even_when_the_disk_is_full_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: object) -> None:
        raise PowerCut

    with bench(tmp_path) as b:
        b.receive("1.1")
        monkeypatch.setattr(b.log, "release", cut)
        with pytest.raises(PowerCut):
            b.seal_after(2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        patched.setattr(SegmentLog, "release", lambda *_: no_space(0))
        with bench(tmp_path) as b:
            assert b.sealer.uncommitted_packs == 1
            b.seal_after(2)
    with bench(tmp_path) as b:
        b.seal_after(2)
        b.commit_all()
        assert (b.shelf.uids(), b.log.live_records) == (["1.1"], 0)


def test_records_that_were_not_sealed_are_sealed_after_a_restart(tmp_path: Path) -> None:
    shelf = Shelf()
    with bench(tmp_path, shelf=shelf) as b:
        b.receive("1.1")
    with bench(tmp_path, shelf=shelf) as b:
        b.seal_after(2)
        b.commit_all()
    assert shelf.uids() == ["1.1"]


def test_packs_that_were_not_committed_are_committed_after_a_restart_and_not_sealed_again(
    tmp_path: Path,
) -> None:
    shelf = Shelf()
    with bench(tmp_path, shelf=shelf) as b:
        b.receive("1.1")
        b.receive("2.1", study=OTHER)
        b.sealer.association_ended("none")
        b.seal_after(2)
    with bench(tmp_path, shelf=shelf) as b:
        b.seal_after(2)
        b.commit_all()
    assert sorted(shelf.uids()) == ["1.1", "2.1"]


class PowerCut(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["fsync", "rename", "release", "delete", "store", "commit", "unlink"])
def test_a_crash_at_any_step_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shelf = Shelf()

    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with bench(tmp_path, shelf=shelf) as b:
        b.receive("1.1")
        b.receive("1.2")
        with monkeypatch.context() as patched:
            if step == "fsync":
                patched.setattr(os, "fsync", cut)
            elif step == "rename":
                patched.setattr(Path, "rename", cut)
            elif step == "release":
                patched.setattr(b.log, "release", cut)
            elif step in ("store", "commit"):
                patched.setattr(shelf, step, cut)
            else:
                suffix = ".seg" if step == "delete" else ".pack"
                real = Path.unlink

                def unlink(path: Path, missing_ok: bool = False) -> None:
                    if path.suffix == suffix:
                        raise PowerCut
                    real(path, missing_ok)

                patched.setattr(Path, "unlink", unlink)
            with pytest.raises(PowerCut):
                b.seal_after(2)
                b.sealer.handover.store_next()
                b.sealer.handover.commit_next()
    with bench(tmp_path, shelf=shelf) as b:
        b.seal_after(2)
        b.commit_all()
        assert b.log.live_records == 0
    # A crash between the sink's success and the unlink hands over the very same pack again.
    assert len({footer.pack_id for footer in shelf.footers}) == 1
    assert set(shelf.uids()) == {"1.1", "1.2"}
    assert len(shelf.footers) == (2 if step == "unlink" else 1)


def no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_sealing_keeps_the_records_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", no_space)
            assert b.seal_after(2) == 0
        assert list((tmp_path / "sealing").iterdir()) == [], "half a pack takes room that is needed"
        assert b.log.live_records == 1
        assert b.sealer.unsealed_bytes > 0
        assert b.seal_after(60) == 1


def test_a_damaged_record_is_set_aside_and_stops_nobody_else(tmp_path: Path) -> None:
    with bench(tmp_path) as b:
        b.receive("1.1", pixels=b"\x11" * 48)
        b.receive("1.2")
        segment = next((tmp_path / "segments" / "0").glob("*.seg"))
        content = bytearray(segment.read_bytes())
        content[content.index(b"\x11" * 48)] ^= 1
        segment.write_bytes(content)
        b.seal_after(2)
        b.commit_all()
        assert b.shelf.uids() == ["1.2"]
        assert [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()] == [bytes(content)]


def test_a_study_that_can_never_be_a_pack_is_set_aside_and_stops_nobody_else(tmp_path: Path) -> None:
    shelf = Shelf()
    with bench(tmp_path, shelf=shelf) as b:
        b.receive("1.1", institution="No Label")
        segment = next((tmp_path / "segments" / "0").glob("*.seg")).read_bytes()
    with bench(tmp_path, shelf=shelf) as b:
        b.receive("2.1", study=OTHER)
        b.seal_after(2)
        b.commit_all()
        assert (shelf.uids(), b.log.live_records) == (["2.1"], 0)
        assert list((tmp_path / "sealing").iterdir()) == []
    assert [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()] == [segment]


def test_a_study_that_fails_for_a_reason_of_its_own_waits_behind_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as b:
        real = b.sealer._write

        def write(part: Path, closed: Closed) -> object:
            if closed.study.study_uid == STUDY:
                raise RuntimeError("a fault of ours")
            return real(part, closed)

        monkeypatch.setattr(b.sealer, "_write", write)
        b.receive("1.1")
        b.receive("2.1", study=OTHER)
        b.seal_after(2)
        b.seal_after(1)
        b.commit_all()
        assert b.shelf.uids() == ["2.1"]
        monkeypatch.undo()
        b.seal_after(60)
        b.commit_all()
        assert b.shelf.uids() == ["2.1", "1.1"]


def test_a_damaged_pack_is_set_aside_at_start(tmp_path: Path) -> None:
    (tmp_path / "sealing").mkdir(parents=True)
    (tmp_path / "sealing" / "x.pack").write_bytes(b"PACSPK01 torn")
    (tmp_path / "sealing" / "y.part").write_bytes(b"unfinished")
    with bench(tmp_path) as b:
        assert b.sealer.uncommitted_packs == 0
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == ["x.pack"]
    assert list((tmp_path / "sealing").iterdir()) == []


def test_its_threads_seal_and_commit_without_being_driven(tmp_path: Path) -> None:
    done = Event()

    class Bell(Shelf):
        def commit(self, path: Path, footer: Footer) -> None:
            super().commit(path, footer)
            if sorted(self.uids()) == ["1.1", "1.2"]:
                done.set()

    with SegmentLog(tmp_path / "log", headroom_bytes=0) as log:
        shelf = Bell()
        sealer = Sealer(
            log, tmp_path / "sealing", shelf, region="local", quarantine=tmp_path / "q",
            rules=SealingRules(idle_seconds=0.01, max_age_seconds=0.02),
        )  # fmt: skip
        sealer.start()
        b = Bench(tmp_path, log, sealer, shelf, HandClock())
        b.receive("1.1")
        b.receive("1.2")
        assert done.wait(10)
        sealer.stop()


@pytest.mark.parametrize("step", ["store", "commit"])
def test_a_pack_file_that_cannot_be_opened_is_a_failed_step_and_ends_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def exhausted(_: Path) -> Footer:
        raise OSError(errno.EMFILE, "Too many open files")

    with bench(tmp_path) as b:
        b.receive("1.1")
        b.seal_after(2)
        if step == "commit":
            b.sealer.handover.store_next()
        with monkeypatch.context() as patched:
            patched.setattr("services.packs.handover.footer_of", exhausted)
            again = getattr(b.sealer.handover, f"{step}_next")()
            assert again is not None
            assert again > b.clock.seconds
        b.clock.seconds += 60
        b.commit_all()
        assert b.shelf.uids() == ["1.1"]


def test_a_step_that_raises_is_repeated_and_its_thread_lives_on(tmp_path: Path) -> None:
    calls, done = [], Event()

    def step() -> float | None:
        calls.append(None)
        if len(calls) < 3:
            raise OSError(errno.EIO, "Input/output error")
        done.set()
        return None

    worker = Worker(Condition(), SealingRules(retry_seconds=0.001), SystemClock())
    worker.start("packs-test", step, lambda: False)
    assert done.wait(10)
    assert [thread.is_alive() for thread in worker.threads] == [True]
    worker.stop()


BOUNDED = """
import resource, sys
from pathlib import Path
from services.common.clock import SystemClock
from services.packs.pack import Footer, verify
from services.packs.sealing import Sealer, SealingRules
from services.packs.segment import SegmentLog

class Shelf:
    def store(self, path: Path, footer: Footer) -> None:
        print(footer.instances[0].length)
    def commit(self, path: Path, footer: Footer) -> None: ...

root, data = Path(sys.argv[1]), int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (data + (64 << 20), data + (64 << 20)))
with SegmentLog(root / "log", headroom_bytes=0) as log:
    sealer = Sealer(log, root / "sealing", Shelf(), region="local", quarantine=root / "quarantine",
                    rules=SealingRules(idle_seconds=0, max_age_seconds=0))
    sealer.seal_due()
    sealer.handover.store_next()
    print(log.live_records)
"""


def test_an_instance_larger_than_the_memory_is_recovered_and_sealed(tmp_path: Path) -> None:
    size = 160 << 20
    body = ct("1.1", pixels=bytes(size))
    header = RecordHeader.for_instance(
        scan(body), institution="yanan", site="yanchang", calling_ae="", called_ae="",
        received_at=datetime(2025, 3, 1, tzinfo=UTC), association="a1",
    )  # fmt: skip
    with SegmentLog(tmp_path / "log", headroom_bytes=0) as log:
        log.append(header, body).result(60)
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(tmp_path)], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.split() == [str(len(body)), "0"]
