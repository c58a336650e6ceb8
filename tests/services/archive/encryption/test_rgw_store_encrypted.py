"""The RGW store with customer keys, over an S3 client that treats them as RGW does."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import pytest

from services.archive.adapters.rgw_store import RgwStore
from services.archive.ports import KeyUnusable, ObjectDamaged, StoreUnavailable
from tests.services.archive.contract_object_store import CONTENT, KEY, ObjectStoreContract, put
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys
from tests.services.archive.s3_double import S3Double, refusal


@pytest.fixture
def region(tmp_path: Path) -> Region:
    write_wrapping_keys(tmp_path / "wrapping-keys.json")
    return Region(S3Double(), tmp_path / "wrapping-keys.json", TurnedClock())


def replica(region: Region) -> Region:
    """Another archive process of the same region."""
    return Region(region.client, region.wrapping_keys, region.clock)


class TestEncryptedRgwStore(ObjectStoreContract):
    """The contract; the wrapped keys beside the packs are not what it is about."""

    @pytest.fixture
    def store(self, region: Region) -> RgwStore:
        return RgwStore(region.client, "packs", keys=region.keys)

    @pytest.fixture(autouse=True)
    def _keys_lie_elsewhere(self, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
        """The contract lists the whole store; here the keys live in a bucket of their own."""
        elsewhere = Region(S3Double(), region.wrapping_keys, region.clock)
        monkeypatch.setattr(region.keys, "ring", elsewhere.ring)


def test_every_object_of_an_institution_is_encrypted_with_a_key_of_its_own(region: Region) -> None:
    put(region.store, CONTENT, "packs/yanan/aa/1.pack")
    put(region.store, CONTENT, "packs/yanan/aa/2.pack")
    put(region.store, CONTENT, "blobs/yanan/x")
    held = [entry.key for name, entry in region.client.objects.items() if not name.startswith("keys/")]
    assert None not in held
    assert len(set(held)) == 3
    (key,) = region.ring.all("yanan")
    assert key.material not in held, "the data key itself never goes to the gateway"
    assert region.store.key_id("packs/yanan/aa/1.pack") == key.key_id


def test_institutions_have_different_data_keys_and_what_nobody_owns_has_the_regions(region: Region) -> None:
    for name in ("packs/yanan/aa/1.pack", "packs/other/aa/1.pack", "nobody"):
        put(region.store, CONTENT, name)
    ids = {region.store.key_id(name) for name in ("packs/yanan/aa/1.pack", "packs/other/aa/1.pack", "nobody")}
    assert len(ids) == 3
    assert ids == {region.ring.all(owner)[0].key_id for owner in ("yanan", "other", "_region")}


def test_an_object_is_read_by_another_process_that_knows_nothing_but_the_wrapping_key(region: Region) -> None:
    put(region.store, CONTENT)
    other = replica(region)
    assert other.store.read(KEY, 10, 20) == CONTENT[10:30]
    assert other.store.size(KEY) == len(CONTENT)
    assert other.store.key_id(KEY) == region.store.key_id(KEY)


def test_without_the_wrapping_key_nothing_is_read_and_nothing_is_written(region: Region) -> None:
    put(region.store, CONTENT)
    write_wrapping_keys(region.wrapping_keys)
    thief = replica(region)
    for attempt in (
        lambda: thief.store.read(KEY, 0, 10),
        lambda: thief.store.size(KEY),
        lambda: put(thief.store, CONTENT, "packs/yanan/aa/new.pack"),
        lambda: thief.clear.read(KEY, 0, 10),
    ):
        with pytest.raises(KeyUnusable):
            attempt()


def test_what_was_stored_in_clear_before_stays_readable_and_the_same_pack_again_is_success(
    region: Region,
) -> None:
    put(region.clear, CONTENT)
    assert region.store.read(KEY, 5, 50) == CONTENT[5:55]
    assert region.store.key_id(KEY) is None
    put(region.store, CONTENT)
    put(region.store, b"other", "packs/yanan/ab/other.pack")
    assert replica(region).store.read(KEY, 5, 50) == CONTENT[5:55]


def test_reencrypting_brings_clear_and_old_objects_under_the_newest_key_once(region: Region) -> None:
    put(region.clear, CONTENT, "packs/yanan/aa/clear.pack")
    put(region.store, CONTENT, "packs/yanan/aa/old.pack")
    old = region.store.key_id("packs/yanan/aa/old.pack")
    region.clock.turn(1)
    new = region.ring.make("yanan")
    for name in ("packs/yanan/aa/clear.pack", "packs/yanan/aa/old.pack"):
        assert region.store.reencrypt(name)
        assert not region.store.reencrypt(name)
        assert region.store.key_id(name) == new.key_id != old
        assert region.store.read(name, 0, len(CONTENT)) == CONTENT


def test_a_process_that_remembers_the_old_key_finds_the_new_one(region: Region) -> None:
    put(region.store, CONTENT)
    reader = replica(region)
    assert reader.store.read(KEY, 0, 5) == CONTENT[:5]
    region.clock.turn(1)
    region.ring.make("yanan")
    region.store.reencrypt(KEY)
    assert reader.store.read(KEY, 0, 5) == CONTENT[:5]


def test_reencrypting_refuses_bytes_that_are_not_the_ones_that_were_put(region: Region) -> None:
    put(region.clear, CONTENT)
    region.client.objects[KEY].content = b"X" + CONTENT[1:]
    with pytest.raises(ObjectDamaged):
        region.store.reencrypt(KEY)
    assert region.client.objects[KEY].key is None


def test_a_refused_rewrite_is_never_told_as_success(region: Region) -> None:
    put(region.clear, CONTENT)
    region.ring.for_writing("yanan")

    def refused(**_: object) -> None:
        raise refusal("PreconditionFailed", 412)

    region.client.put_object = refused
    with pytest.raises(StoreUnavailable):
        region.store.reencrypt(KEY)
    assert region.client.objects[KEY].key is None


def test_an_object_that_is_deleted_while_it_is_reencrypted_stays_deleted(region: Region) -> None:
    put(region.clear, CONTENT)
    real = region.client.put_object

    def deleted_first(**arguments: object) -> object:
        region.client.objects.pop(KEY, None)
        return real(**arguments)

    region.ring.for_writing("yanan")
    region.client.put_object = deleted_first
    assert not region.store.reencrypt(KEY)
    assert not region.store.exists(KEY)


def test_a_gateway_that_forgets_to_encrypt_is_found_out(region: Region) -> None:
    region.ring.for_writing("yanan")
    real = region.client.put_object

    def forgetful(**arguments: object) -> object:
        arguments.pop("SSECustomerKey", None)
        return real(**arguments)

    region.client.put_object = forgetful
    with pytest.raises(ObjectDamaged, match="put it again"):
        put(region.store, CONTENT)


def test_several_parts_are_encrypted_alike(region: Region) -> None:
    store = RgwStore(region.client, "packs", keys=region.keys, part_bytes=4096)
    put(store, CONTENT)
    assert store.read(KEY, 4000, 200) == CONTENT[4000:4200]
    assert region.client.objects[KEY].key is not None
    region.clock.turn(1)
    region.ring.make("yanan")
    assert store.reencrypt(KEY)
    assert store.read(KEY, 4000, 200) == CONTENT[4000:4200]


def test_the_headers_for_a_reader_of_its_own_open_that_object_and_no_other(region: Region) -> None:
    put(region.store, CONTENT)
    put(region.clear, CONTENT, "packs/yanan/aa/clear.pack")
    headers = region.keys.headers(KEY, region.store.key_id(KEY))
    assert headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert len(headers) == 3
    assert region.keys.headers("packs/yanan/aa/clear.pack", None) == {}
    other = region.keys.headers("packs/yanan/aa/other.pack", region.store.key_id(KEY))
    assert (
        other["x-amz-server-side-encryption-customer-key"]
        != headers["x-amz-server-side-encryption-customer-key"]
    )
    with pytest.raises(KeyUnusable, match="has no data key"):
        region.keys.headers(KEY, "unknown")


def test_a_put_of_a_body_whose_key_cannot_be_made_keeps_nothing(region: Region) -> None:
    region.wrapping_keys.unlink()
    with pytest.raises(KeyUnusable, match="cannot be read"):
        region.store.put(KEY, io.BytesIO(CONTENT), len(CONTENT), sha256(CONTENT).hexdigest())
    assert region.client.objects == {}
