"""The second copy is complete, sealed and enough: from it alone, and the wrapping key, everything comes back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.rgw_store import RgwStore
from services.archive.commit import ArchiveSink
from services.archive.index.rebuild import enter_missing
from services.archive.metrics import ArchiveMetrics
from services.archive.ports import KeyUnusable, ObjectDamaged
from services.archive.second_copy.copier import Copier, compare
from services.archive.second_copy.keeper import SecondCopyKeeper
from services.archive.second_copy.ports import Due, Waiting
from services.archive.second_copy.restore import restore
from services.packs.pack import Footer, sha256_of
from tests.services.archive.contract_object_store import CONTENT, put
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys
from tests.services.archive.s3_double import S3Double, refusal
from tests.services.packs.synthetic import STUDY, ct
from tests.services.packs.test_pack import write_pack

TOMBSTONE = "tombstones/yanan/aa/aa.json"


class MemoryQueue:
    """`CopyQueue` in a list."""

    def __init__(self, clock: TurnedClock) -> None:
        self.clock, self.packs, self.copied = clock, list[Due](), set[str]()

    def add(self, footer: Footer) -> None:
        self.packs.append(Due(footer.pack_id, footer.key, self.clock.now()))

    def lead(self) -> bool:
        return True

    def due(self, limit: int, after: Due | None) -> Sequence[Due]:
        start = 0 if after is None else self.packs.index(after) + 1
        return [one for one in self.packs[start:] if one.pack_id not in self.copied][:limit]

    def done(self, pack_ids: Collection[str]) -> None:
        self.copied.update(pack_ids)

    def again(self, pack_ids: Collection[str]) -> None:
        self.copied.difference_update(pack_ids)

    def waiting(self) -> Waiting:
        left = [one for one in self.packs if one.pack_id not in self.copied]
        return Waiting(len(left), min((one.committed_at for one in left), default=None))


class Sites:
    """A region's bucket, and a second one elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wrapping_keys = directory / "keys.json"
        write_wrapping_keys(self.wrapping_keys)
        self.clock = TurnedClock()
        self.here = Region(S3Double(), self.wrapping_keys, self.clock)
        self.elsewhere = S3Double()
        self.second = RgwStore(self.elsewhere, "second")  # type: ignore[arg-type]
        self.queue = MemoryQueue(self.clock)
        self.registry = CollectorRegistry()
        metrics = ArchiveMetrics(self.registry)
        self.copier = Copier(self.here.store, self.second, self.here.ring, "local")
        self.keeper = SecondCopyKeeper(self.copier, self.queue, metrics, self.clock)
        self.packs: list[Footer] = []

    def store_packs(self, count: int) -> None:
        for _ in range(count):
            path = self.directory / f"{len(self.packs)}.pack"
            footer = write_pack(path, [ct(f"{STUDY}.7.{len(self.packs)}")])
            self.here.store.put(footer.key, path, path.stat().st_size, sha256_of(path))
            self.queue.add(footer)
            self.packs.append(footer)

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pacs_archive_second_copy_{name}", labels)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    made = Sites(tmp_path)
    made.store_packs(3)
    put(made.here.store, CONTENT, TOMBSTONE)
    return made


def content(store: RgwStore, prefix: str = "") -> dict[str, bytes]:
    return {key: store.read(key, 0, store.size(key)) for key in store.list(prefix)}


def test_everything_arrives_sealed_and_only_once(sites: Sites) -> None:
    assert sites.keeper.copy_due() == 5  # three packs, a tombstone, the institution's key
    assert set(sites.elsewhere.objects) == set(sites.here.client.objects)
    for name, held in sites.elsewhere.objects.items():
        assert name.startswith("keys/") or held.content.startswith(b"PACSEAL1")
        assert b"DICM" not in held.content
    assert sites.keeper.copy_due() == 0
    assert sites.queue.waiting().packs == 0


def test_an_empty_bucket_is_filled_again_and_the_index_rebuilt(sites: Sites) -> None:
    before = content(sites.here.store)
    sites.keeper.copy_due()
    anew = Region(S3Double(), sites.wrapping_keys, sites.clock)
    result = restore(anew.store, sites.second, anew.ring, "local")
    assert (result.objects, result.restored, result.damaged) == (5, 5, 0)
    assert content(anew.store) == before
    assert all(held.key for name, held in anew.client.objects.items() if not name.startswith("keys/"))
    index = MemoryIndex()
    sink = ArchiveSink(anew.store, index, ArchiveMetrics(CollectorRegistry()))
    assert enter_missing(anew.store, index, sink).entered == 3
    assert restore(anew.store, sites.second, anew.ring, "local").restored == 0


def test_without_the_wrapping_key_the_second_copy_gives_nothing_and_with_the_escrow_everything(
    sites: Sites,
) -> None:
    before = content(sites.here.store)
    sites.keeper.copy_due()
    escrow = sites.wrapping_keys.read_bytes()
    write_wrapping_keys(sites.wrapping_keys)
    thief = Region(S3Double(), sites.wrapping_keys, sites.clock)
    with pytest.raises(KeyUnusable):
        restore(thief.store, sites.second, thief.ring, "local")
    with pytest.raises(KeyUnusable):
        Region(sites.here.client, sites.wrapping_keys, sites.clock).store.read(sites.packs[0].key, 0, 8)
    sites.wrapping_keys.write_bytes(escrow)
    owner = Region(S3Double(), sites.wrapping_keys, sites.clock)
    restore(owner.store, sites.second, owner.ring, "local")
    assert content(owner.store) == before
    there = Region(sites.here.client, sites.wrapping_keys, sites.clock)
    assert content(there.store) == before


def test_a_restore_that_was_cut_off_goes_on_and_touches_nothing_that_is_there(sites: Sites) -> None:
    before = content(sites.here.store)
    sites.keeper.copy_due()
    del sites.here.client.objects[sites.packs[1].key]
    result = restore(sites.here.store, sites.second, sites.here.ring, "local")
    assert result.restored == 1
    assert content(sites.here.store) == before


def test_a_damaged_copy_is_counted_and_the_others_are_restored(sites: Sites) -> None:
    sites.keeper.copy_due()
    held = sites.elsewhere.objects[sites.packs[0].key]
    held.content = held.content[:-60] + bytes(60)
    anew = Region(S3Double(), sites.wrapping_keys, sites.clock)
    result = restore(anew.store, sites.second, anew.ring, "local")
    assert (result.restored, result.damaged) == (4, 1)
    assert not anew.store.exists(sites.packs[0].key)


def test_a_copy_that_names_an_unknown_key_is_counted_and_the_others_are_restored(sites: Sites) -> None:
    sites.keeper.copy_due()
    (key,) = sites.here.ring.all("yanan")
    held = sites.elsewhere.objects[TOMBSTONE]
    held.content = held.content.replace(key.key_id.encode(), b"0" * len(key.key_id))
    anew = Region(S3Double(), sites.wrapping_keys, sites.clock)
    result = restore(anew.store, sites.second, anew.ring, "local")
    assert (result.restored, result.damaged) == (4, 1)


def test_a_second_site_that_is_away_is_caught_up_with_and_the_age_grows_meanwhile(sites: Sites) -> None:
    real = sites.elsewhere.put_object

    def away(**_: Any) -> None:
        raise refusal("ServiceUnavailable", 503)

    sites.elsewhere.put_object = away  # type: ignore[method-assign]
    with pytest.raises(Exception, match="ServiceUnavailable"):
        sites.keeper.copy_due()
    sites.keeper.measure()
    assert sites.figure("waiting_packs") == 3
    sites.clock.turn(timedelta(hours=2).total_seconds())
    assert sites.figure("oldest_age_seconds") == 7200
    sites.elsewhere.put_object = real  # type: ignore[method-assign]
    assert sites.keeper.copy_due() == 5
    sites.keeper.measure()
    assert (sites.figure("waiting_packs"), sites.figure("oldest_age_seconds")) == (0, 0)


def test_a_pack_that_is_damaged_here_is_not_copied_and_holds_up_no_other(sites: Sites) -> None:
    held = sites.here.client.objects[sites.packs[0].key]
    held.content = held.content[:20] + bytes([held.content[20] ^ 1]) + held.content[21:]
    sites.keeper.copy_due()
    assert not sites.second.exists(sites.packs[0].key)
    assert sites.figure("objects_total", outcome="failed") == 1
    assert [one.pack_id for one in sites.queue.due(9, None)] == [sites.packs[0].pack_id]


def test_an_unsound_copy_is_sent_again(sites: Sites) -> None:
    sites.keeper.copy_due()
    name = sites.packs[0].key
    sites.elsewhere.objects[name].content = b"PACSEAL1 cut off"
    sites.queue.again([sites.packs[0].pack_id])
    assert sites.keeper.copy_due() == 1
    assert sites.copier.is_sound(name)


def test_a_new_index_finds_the_copies_that_are_there_and_sends_none_again(sites: Sites) -> None:
    sites.keeper.copy_due()
    sites.queue.copied.clear()
    assert sites.keeper.copy_due() == 0
    assert sites.queue.waiting().packs == 0
    assert sites.figure("objects_total", outcome="present") == 3


def test_what_the_second_site_lost_is_found_by_comparing_and_copied_again(sites: Sites) -> None:
    sites.keeper.copy_due()
    del sites.elsewhere.objects[sites.packs[2].key]
    sites.elsewhere.objects["packs/yanan/zz/gone.pack"] = sites.elsewhere.objects[sites.packs[0].key]
    compared = compare(sites.here.store, sites.second, sites.queue)
    assert (compared.objects, compared.missing, compared.surplus) == (5, 1, 1)
    assert sites.keeper.copy_due() == 1


def test_a_rotated_wrapping_key_reaches_the_second_site_before_the_packs(sites: Sites) -> None:
    sites.keeper.copy_due()
    sites.clock.turn(1)
    new = sites.here.ring.make("yanan")
    sites.store_packs(1)
    sites.keeper.copy_due()
    assert sites.copier.open(sites.packs[-1].key).key_id == new.key_id
    with pytest.raises(ObjectDamaged):
        sites.copier.open(next(iter(sites.second.list("keys/"))))
