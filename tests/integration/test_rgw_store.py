"""The RGW object store keeps the contract against a real gateway, over TLS."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from services.archive.adapters.rgw_store import RgwStore
from services.archive.ports import ObjectDamaged, StoreUnavailable
from tests.integration.ceph import S3Endpoint, running_ceph, write_certificates
from tests.services.archive.contract_object_store import CONTENT, KEY, ObjectStoreContract, put

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def endpoint() -> Iterator[S3Endpoint]:
    with running_ceph() as started:
        yield started


def connect(endpoint: S3Endpoint, bucket: str, **changes: Any) -> RgwStore:
    arguments: dict[str, Any] = {
        "access_key": endpoint.access_key, "secret_key": endpoint.secret_key, "ca_file": endpoint.ca_file,
    }  # fmt: skip
    return RgwStore.connect(endpoint.url, bucket, **(arguments | changes))


@pytest.fixture
def store(endpoint: S3Endpoint) -> RgwStore:
    made = connect(endpoint, f"test-{uuid.uuid4().hex}")
    made._client.create_bucket(Bucket=made._bucket)
    return made


class TestRgwStore(ObjectStoreContract):
    """See `ObjectStoreContract`."""

    @pytest.fixture
    def store(self, store: RgwStore) -> RgwStore:  # type: ignore[override]
        return store


class TestRgwStoreInParts(ObjectStoreContract):
    """The same rules where every body but the smallest goes in several parts."""

    @pytest.fixture
    def store(self, store: RgwStore) -> RgwStore:  # type: ignore[override]
        return RgwStore(store._client, store._bucket, part_bytes=5 << 20)

    def test_a_body_of_several_parts_is_read_back_across_their_borders(self, store: RgwStore) -> None:
        content = CONTENT * 1100
        assert len(content) > 2 * (5 << 20)
        put(store, content)
        border = 5 << 20
        assert store.read(KEY, border - 100, 200) == content[border - 100 : border + 100]
        assert store.size(KEY) == len(content)
        put(store, content)

    def test_an_upload_that_fails_midway_leaves_no_parts(self, store: RgwStore) -> None:
        content = bytes(11 << 20)
        calls = []
        real = store._client.upload_part

        def fail_second(**arguments: Any) -> Any:
            calls.append(arguments["PartNumber"])
            if len(calls) == 2:
                arguments["ContentMD5"] = "AAAAAAAAAAAAAAAAAAAAAA=="
            return real(**arguments)

        store._client.upload_part = fail_second  # type: ignore[method-assign]
        try:
            with pytest.raises(ObjectDamaged):
                put(store, content)
        finally:
            store._client.upload_part = real  # type: ignore[method-assign]
        assert calls == [1, 2]
        assert not store.exists(KEY)
        assert "Uploads" not in store._client.list_multipart_uploads(Bucket=store._bucket)


def test_the_gateway_itself_refuses_bytes_that_changed_on_the_way(store: RgwStore) -> None:
    real = store._client.put_object

    def garble(**arguments: Any) -> Any:
        arguments["Body"] = io.BytesIO(b"X" + arguments["Body"].read()[1:])
        return real(**arguments)

    store._client.put_object = garble  # type: ignore[method-assign]
    with pytest.raises(ObjectDamaged, match="BadDigest"):
        put(store, CONTENT)
    assert not store.exists(KEY)


def test_an_object_that_somebody_else_put_without_a_digest_is_a_conflict(store: RgwStore) -> None:
    store._client.put_object(Bucket=store._bucket, Key=KEY, Body=CONTENT)
    with pytest.raises(Exception, match="was not overwritten"):
        put(store, CONTENT)


def test_a_gateway_with_a_certificate_of_another_root_is_not_talked_to(
    endpoint: S3Endpoint, tmp_path: Path
) -> None:
    write_certificates(tmp_path)
    with pytest.raises(StoreUnavailable, match="certificate"):
        connect(endpoint, "any", ca_file=tmp_path / "ca.pem").exists(KEY)


def test_a_wrong_secret_is_unavailable_and_is_not_told(endpoint: S3Endpoint) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        connect(endpoint, "any", secret_key="not-the-secret").read(KEY, 0, 1)
    assert "not-the-secret" not in str(caught.value)


def test_a_gateway_that_is_gone_is_unavailable(endpoint: S3Endpoint) -> None:
    gone = S3Endpoint("https://127.0.0.1:1", endpoint.access_key, endpoint.secret_key, endpoint.ca_file)
    with pytest.raises(StoreUnavailable):
        connect(gone, "any").exists(KEY)


def test_plain_http_is_refused() -> None:
    with pytest.raises(ValueError, match="TLS"):
        RgwStore.connect("http://127.0.0.1", "b", access_key="", secret_key="", ca_file=Path("/x"))


def test_a_bucket_that_is_missing_is_told_as_such(endpoint: S3Endpoint) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        connect(endpoint, "no-such-bucket").put(KEY, io.BytesIO(b""), 0, sha256().hexdigest())
