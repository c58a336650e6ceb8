"""Objects that the archive encrypts with customer keys, against a real gateway and the disk below it."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from services.archive.adapters.rgw_store import RgwStore
from services.archive.ports import KeyUnusable
from tests.integration.ceph import S3Endpoint, running_ceph
from tests.integration.test_rgw_store import connect
from tests.services.archive.contract_object_store import CONTENT, KEY, ObjectStoreContract, put
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys

pytestmark = pytest.mark.integration

MARKER = b"MARKER^OF^A^TEST^PATIENT"
BODY = (MARKER + os.urandom(1000)) * 4000


@pytest.fixture(scope="module")
def endpoint() -> Iterator[S3Endpoint]:
    with running_ceph() as started:
        yield started


@pytest.fixture
def region(endpoint: S3Endpoint, tmp_path: Path) -> Region:
    """A region whose bucket is its own, on the gateway."""
    write_wrapping_keys(tmp_path / "wrapping-keys.json")
    bucket = f"test-{uuid.uuid4().hex}"
    client = connect(endpoint, bucket)._client
    client.create_bucket(Bucket=bucket)
    return Region(client, tmp_path / "wrapping-keys.json", TurnedClock(), bucket=bucket)


class TestEncryptedRgwStore(ObjectStoreContract):
    """The contract with customer keys; the wrapped keys lie in another bucket, since the contract lists all of one."""

    @pytest.fixture
    def store(self, region: Region, endpoint: S3Endpoint) -> RgwStore:
        bucket = f"test-{uuid.uuid4().hex}"
        region.client.create_bucket(Bucket=bucket)
        return RgwStore(region.client, bucket, keys=region.keys)


class TestEncryptedRgwStoreInParts(TestEncryptedRgwStore):
    """The same where every body but the smallest goes in several parts."""

    @pytest.fixture
    def store(self, region: Region, endpoint: S3Endpoint) -> RgwStore:
        bucket = f"test-{uuid.uuid4().hex}"
        region.client.create_bucket(Bucket=bucket)
        return RgwStore(region.client, bucket, keys=region.keys, part_bytes=5 << 20)

    def test_a_body_of_several_parts_is_read_back_across_their_borders(self, store: RgwStore) -> None:
        content = CONTENT * 1100
        put(store, content)
        border = 5 << 20
        assert store.read(KEY, border - 100, 200) == content[border - 100 : border + 100]
        assert store.key_id(KEY) is not None


def on_disk(endpoint: S3Endpoint, wanted: bytes) -> bool:
    """Whether the OSD's own disk holds these bytes anywhere."""
    descriptor = os.open(endpoint.ca_file.parent / "osd/block", os.O_RDONLY)
    try:
        end, position, rest = os.fstat(descriptor).st_size, 0, b""
        while position < end:
            try:
                position = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError:
                return False
            piece = os.pread(descriptor, 8 << 20, position)
            if wanted in rest + piece:
                return True
            rest, position = piece[-len(wanted) :], position + len(piece)
    finally:
        os.close(descriptor)
    return False


def test_the_disk_shows_a_marker_only_where_the_object_was_not_encrypted(
    endpoint: S3Endpoint, region: Region
) -> None:
    unique = uuid.uuid4().bytes
    put(region.store, BODY.replace(MARKER, unique + MARKER), "packs/yanan/aa/encrypted.pack")
    assert region.store.read("packs/yanan/aa/encrypted.pack", 0, 16) == unique
    assert not on_disk(endpoint, unique + MARKER)
    put(region.clear, BODY.replace(MARKER, unique + MARKER), "packs/yanan/aa/clear.pack")
    assert on_disk(endpoint, unique + MARKER), "the search itself finds what is there"


def test_equal_packs_are_different_bytes_on_the_disk(endpoint: S3Endpoint, region: Region) -> None:
    body = (b"EQUAL" * 1000)[:4096] * 32
    put(region.store, body, "packs/yanan/aa/1.pack")
    put(region.store, body, "packs/yanan/aa/2.pack")
    first, second = (
        region.keys.headers(f"packs/yanan/aa/{n}.pack", region.store.key_id(f"packs/yanan/aa/{n}.pack"))
        for n in (1, 2)
    )
    assert first != second


def test_the_gateway_opens_nothing_without_the_key(region: Region) -> None:
    put(region.store, CONTENT)
    with pytest.raises(KeyUnusable):
        region.clear.read(KEY, 0, 10)
    with pytest.raises(KeyUnusable):
        region.clear.size(KEY)
    assert list(region.clear.list("packs/")) == [KEY], "names are listed: they say nothing of a patient"


def test_an_upgraded_bucket_is_read_and_then_encrypted(region: Region) -> None:
    put(region.clear, CONTENT)
    assert region.store.read(KEY, 7, 70) == CONTENT[7:77]
    region.ring.for_writing("yanan")
    assert region.store.read(KEY, 7, 70) == CONTENT[7:77]
    assert region.store.key_id(KEY) is None
    assert region.store.reencrypt(KEY)
    assert region.store.read(KEY, 7, 70) == CONTENT[7:77]
    with pytest.raises(KeyUnusable):
        region.clear.read(KEY, 7, 70)


def test_an_old_key_opens_what_it_encrypted_until_it_is_encrypted_anew(region: Region) -> None:
    put(region.store, CONTENT)
    region.clock.turn(1)
    new = region.ring.make("yanan")
    put(region.store, b"newer", "packs/yanan/aa/newer.pack")
    assert region.store.key_id("packs/yanan/aa/newer.pack") == new.key_id
    reader = Region(region.client, region.wrapping_keys, region.clock, bucket=region.bucket)
    assert reader.store.read(KEY, 0, 5) == CONTENT[:5]
    assert region.store.reencrypt(KEY)
    assert reader.store.read(KEY, 0, len(CONTENT)) == CONTENT
    assert reader.store.key_id(KEY) == new.key_id


def test_a_put_that_was_sent_twice_is_one_object(region: Region) -> None:
    for _ in range(2):
        region.store.put(KEY, io.BytesIO(CONTENT), len(CONTENT), sha256(CONTENT).hexdigest())
    assert list(region.store.list("packs/")) == [KEY]
