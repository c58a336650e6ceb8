"""A check finds each kind of difference, tells nothing of what is in order, and goes on where it stopped."""

import dataclasses
import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.upkeep.check import Check, Progress
from services.archive.upkeep.checkpoint import Begun, Checkpoint
from services.archive.upkeep.differences import MEANINGS, Kind
from services.archive.upkeep.merge import side_by_side
from services.common.clock import SystemClock
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic
from tests.services.archive.tombstones.test_deletion import ONE, delete
from tests.services.archive.upkeep.ledger_double import MemoryLedger

__all__ = ["harness"]


class Stand:
    """An archive with three packs of three studies, and checks of it."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        harness.keep(synthetic("1.1"), synthetic("1.2"))
        harness.keep(synthetic("8.1", study="8.8", series="8.8.1"))
        harness.keep(synthetic("9.1", study="9.9", series="9.9.1"))
        assert isinstance(harness.store, MemoryStore)
        assert isinstance(harness.index, MemoryIndex)
        self.store, self.index = harness.store, harness.index
        self.ledger = MemoryLedger(self.index)
        self.keys = list(self.store.list("packs/"))

    def check(self, share: float = 1.0, step: Callable[[Progress], None] = lambda _: None) -> Progress:
        worker = Check(
            self.store, self.ledger, SystemClock(), share=share, seed="s", grace=timedelta(0), step=step
        )
        return worker.run(Progress())

    def found(self) -> list[tuple[Kind, str]]:
        return [(one.kind, one.key) for one in self.check().differences]

    def put(self, key: str, content: bytes) -> None:
        self.store.put(key, io.BytesIO(content), len(content), sha256(content).hexdigest())

    def alter(self, key: str, offset: int) -> None:
        content = bytearray(self.store._objects[key])
        content[offset] ^= 1
        self.store._objects[key] = bytes(content)


@pytest.fixture
def stand(harness: Harness) -> Iterator[Stand]:
    yield Stand(harness)


def test_what_is_in_order_gives_no_difference_and_every_byte_was_read(stand: Stand) -> None:
    progress = stand.check()
    assert progress.differences == []
    assert (progress.packs, progress.objects, progress.digested) == (3, 3, 3)
    assert progress.read_bytes == sum(one.length for one in stand.index.instances(None, "1.2.3")) + sum(
        one.length for study in ("8.8", "9.9") for one in stand.index.instances(None, study)
    )


def test_one_flipped_byte_of_an_instance_is_found(stand: Stand) -> None:
    stand.alter(stand.keys[1], 600)
    assert stand.found() == [(Kind.ALTERED_BYTES, stand.keys[1])]


def test_one_flipped_byte_of_the_magic_is_found(stand: Stand) -> None:
    stand.alter(stand.keys[1], 0)
    assert stand.found() == [(Kind.ALTERED_BYTES, stand.keys[1])]


def test_one_flipped_byte_of_a_footer_is_found_also_when_no_bytes_are_read(stand: Stand) -> None:
    stand.alter(stand.keys[2], -60)
    assert [one.kind for one in stand.check(share=0).differences] == [Kind.UNREADABLE_FOOTER]


def test_a_row_without_its_object_is_found(stand: Stand) -> None:
    stand.store.delete(stand.keys[0])
    assert stand.found() == [(Kind.MISSING_OBJECT, stand.keys[0])]


def test_a_pack_that_lost_its_end_is_found(stand: Stand) -> None:
    stand.store._objects[stand.keys[0]] = stand.store._objects[stand.keys[0]][:-10]
    assert stand.found() == [(Kind.WRONG_SIZE, stand.keys[0]), (Kind.UNREADABLE_FOOTER, stand.keys[0])]


def test_an_object_without_its_row_is_found(stand: Stand) -> None:
    pack_id = Path(stand.keys[1]).stem
    del stand.index._packs[pack_id]
    assert stand.found() == [(Kind.MISSING_ROW, stand.keys[1])]


def test_a_row_that_points_elsewhere_than_the_footer_is_found(stand: Stand) -> None:
    [row] = [row for row in stand.index._rows.values() if row.pack.study_uid == "8.8"]
    row.instance = dataclasses.replace(row.instance, offset=row.instance.offset + 1)
    assert [kind for kind, _ in stand.found()] == [Kind.MISPLACED_INSTANCE]


def test_an_object_that_is_no_pack_is_found(stand: Stand) -> None:
    stand.put(f"packs/yanan/00/{'0' * 64}.pack", b"not a pack")
    assert [kind for kind, _ in stand.found()] == [Kind.UNREADABLE_OBJECT]


def test_an_object_that_was_just_put_may_wait_for_its_row(stand: Stand) -> None:
    stand.put(f"packs/yanan/00/{'0' * 64}.pack", b"under way")
    worker = Check(stand.store, stand.ledger, SystemClock(), share=0, seed="s", grace=timedelta(hours=1))
    assert worker.run(Progress()).differences == []


def test_tombstones_are_compared_too(stand: Stand) -> None:
    delete(stand.harness, ONE)
    [key] = stand.store.list("tombstones/")
    assert stand.found() == [(Kind.TOMBSTONE_WITHOUT_ROW, key)]
    stand.ledger.documents_known = [key]
    assert stand.found() == []
    stand.alter(key, 30)
    assert stand.found() == [(Kind.UNREADABLE_TOMBSTONE, key)]
    stand.store.delete(key)
    assert stand.found() == [(Kind.MISSING_TOMBSTONE, key)]


def test_a_sample_reads_some_packs_and_the_next_seed_others(stand: Stand) -> None:
    chosen = set()
    for seed in map(str, range(40)):
        worker = Check(stand.store, stand.ledger, SystemClock(), share=0.34, seed=seed, grace=timedelta(0))
        chosen.add(worker.run(Progress()).digested)
    assert {0, 1, 2} <= chosen


class Interrupted(Exception):
    """The process is ended."""


def test_a_check_that_was_interrupted_goes_on_and_tells_what_it_had_found(
    stand: Stand, tmp_path: Path
) -> None:
    stand.alter(stand.keys[0], 600)
    stand.alter(stand.keys[2], 600)
    checkpoint = Checkpoint(tmp_path / "spool")

    def end(progress: Progress) -> None:
        checkpoint.keep(Begun(1.0, "s", progress))
        if progress.packs == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        stand.check(step=end)
    begun = checkpoint.load()
    assert begun is not None
    assert (begun.progress.packs, len(begun.progress.differences)) == (2, 1)
    worker = Check(stand.store, stand.ledger, SystemClock(), share=1, seed="s", grace=timedelta(0))
    progress = worker.run(begun.progress)
    assert progress.packs == 3
    assert [one.key for one in progress.differences] == [stand.keys[0], stand.keys[2]]


def test_a_finished_check_leaves_its_figures_and_nothing_to_go_on_with(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert (checkpoint.last_differences(), checkpoint.last_finished()) == (0, 0)
    begun = Begun(0.5, "s", Progress())
    checkpoint.keep(begun)
    checkpoint.finish(begun, 1234.5)
    assert checkpoint.load() is None
    assert (checkpoint.last_differences(), checkpoint.last_finished()) == (0, 1234.5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format":2}', b'{"format":1,"progress":3}'])
def test_a_checkpoint_that_cannot_be_read_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "upkeep").mkdir()
    (tmp_path / "upkeep" / "check.json").write_bytes(content)
    assert Checkpoint(tmp_path).load() is None


def test_two_sequences_side_by_side_miss_nothing() -> None:
    met = list(side_by_side(iter("acd"), str, iter("bcde")))
    assert met == [
        ("a", "a", False), ("b", None, True), ("c", "c", True), ("d", "d", True), ("e", None, True),
    ]  # fmt: skip


def test_every_kind_of_difference_says_what_it_means() -> None:
    assert set(MEANINGS) == set(Kind)
