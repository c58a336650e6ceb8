"""A bucket that was in clear, or under an older key, comes under the newest one, and the index says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.encryption.reencryption import reencrypt
from services.archive.errors import StoreAway
from services.archive.index.records import PackContent
from tests.services.archive.content import a_pack, an_instance
from tests.services.archive.contract_object_store import CONTENT, put
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys
from tests.services.archive.s3_double import S3Double, refusal


@pytest.fixture
def region(tmp_path: Path) -> Region:
    write_wrapping_keys(tmp_path / "keys.json")
    return Region(S3Double(), tmp_path / "keys.json", TurnedClock())


def packs_in_clear(region: Region, index: MemoryIndex) -> list[PackContent]:
    contents = [a_pack(an_instance(f"1.{n}"), name=str(n)) for n in range(3)]
    for content in contents:
        put(region.clear, CONTENT, content.pack.object_key)
        index.commit(content, [])
    return contents


def test_an_upgraded_bucket_is_encrypted_and_its_rows_name_the_key(region: Region) -> None:
    index = MemoryIndex()
    contents = packs_in_clear(region, index)
    put(region.clear, CONTENT, "tombstones/yanan/aa/1.json")
    result = reencrypt(region.store, index)
    assert (result.objects, result.encrypted, result.failed) == (4, 4, 0)
    key = region.ring.for_writing("yanan")
    assert {one.key_id for one in index.instances(None, "1.2.3")} == {key.key_id}
    assert all(held.key for name, held in region.client.objects.items() if not name.startswith("keys/"))
    assert all(region.store.read(one.pack.object_key, 0, 9) == CONTENT[:9] for one in contents)
    assert reencrypt(region.store, index).encrypted == 0


def test_a_run_that_was_cut_off_goes_on_and_mends_the_rows(region: Region) -> None:
    index = MemoryIndex()
    (first, *_) = packs_in_clear(region, index)
    region.store.reencrypt(first.pack.object_key)
    result = reencrypt(region.store, index)
    assert result.encrypted == 2
    assert {one.key_id for one in index.instances(None, "1.2.3")} == {region.ring.for_writing("yanan").key_id}


def test_a_damaged_object_is_counted_and_holds_up_no_other(region: Region) -> None:
    index = MemoryIndex()
    (first, *_) = packs_in_clear(region, index)
    region.client.objects[first.pack.object_key].content = b"x" * len(CONTENT)
    result = reencrypt(region.store, index)
    assert (result.encrypted, result.failed) == (2, 1)


def test_a_store_that_goes_away_ends_the_run(region: Region) -> None:
    index = MemoryIndex()
    packs_in_clear(region, index)
    region.ring.for_writing("yanan")

    def away(**_: object) -> None:
        raise refusal("ServiceUnavailable", 503)

    region.client.put_object = away
    with pytest.raises(StoreAway):
        reencrypt(region.store, index)
