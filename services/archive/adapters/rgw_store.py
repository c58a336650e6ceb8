"""An object store in a bucket of Ceph RGW, reached through boto3 over TLS: the centre's packs.

Every body carries a Content-MD5, so that the gateway itself refuses bytes that changed on the way; after
the put, length, ETag and the SHA-256 in the metadata are read back. Keys are never overwritten.

With keys, each object is encrypted by the gateway with a key that comes with the request and is not kept there
(SSE-C). What was stored before, or with an older key, stays readable; `reencrypt` brings it under the newest.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from services.archive.adapters.content import PIECE, known_sha256, opened
from services.archive.adapters.keys import check_key
from services.archive.adapters.s3_errors import TAKEN, WRONG_KEY, code_of, translated
from services.archive.adapters.s3_upload import Upload, parts_of, seekable
from services.archive.encryption.customer_keys import CustomerKey, NoKeys, ObjectKeys
from services.archive.index.content import RangeFile
from services.archive.ports import KeyUnusable, ObjectConflict, ObjectDamaged, ObjectMissing, ObjectStoreError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART_BYTES = 64 << 20
"""Bodies up to this length go in one request, longer ones in parts of it (S3 allows 10,000 parts)."""
_AHEAD = 8 << 20


class RgwStore:
    """`ObjectStore` over one bucket that exists already; safe to use from many threads."""

    def __init__(
        self, client: S3Client, bucket: str, *, keys: ObjectKeys | None = None, part_bytes: int = PART_BYTES
    ) -> None:
        self._client, self._bucket, self._part_bytes = client, bucket, part_bytes
        self._keys: ObjectKeys = keys or NoKeys()

    def encrypted(self, keys: ObjectKeys) -> RgwStore:
        """The same bucket with these keys."""
        return RgwStore(self._client, self._bucket, keys=keys, part_bytes=self._part_bytes)

    @classmethod
    def connect(
        cls,
        endpoint: str,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        ca_file: Path | None,
        connections: int = 16,
    ) -> RgwStore:
        """The store at `endpoint` (https://host:port), whose certificate must chain to `ca_file`; None: a public CA."""
        if not endpoint.startswith("https://"):
            raise ValueError(f"{endpoint} is not an https address: packs and keys travel over TLS only")
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",  # RGW's default zone group answers to any name; SigV4 wants one
            verify=str(ca_file) if ca_file else True,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "max_attempts": 3},
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=connections,
            ),
        )
        return cls(client, bucket)

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        check_key(key)
        sha256 = known_sha256(source, sha256)
        if self._holds(key, length, sha256):
            return
        self._write(key, source, length, sha256, {"IfNoneMatch": "*"})

    def _write(
        self, key: str, source: Path | BinaryIO, length: int, sha256: str, condition: dict[str, Any]
    ) -> None:
        secret = self._keys.for_writing(key)
        common = {"Bucket": self._bucket, "Key": key, **(secret.arguments() if secret else {})}
        metadata = {"sha256": sha256} | ({"key-id": secret.key_id} if secret else {})
        upload = Upload(self._client, common, {"Metadata": metadata}, condition)
        with opened(source) as stream, seekable(stream) as file:
            parts = parts_of(file, length, sha256, self._part_bytes)
            file.seek(0)
            with translated(f"store {key}"):
                try:
                    etag = upload.send(file, parts)
                except ClientError as error:
                    # Another writer of a free key was faster: success or conflict, as if it had come long before.
                    # Where the key was not free the object is still the old one: that is no success.
                    if (
                        "IfNoneMatch" in condition
                        and code_of(error) in TAKEN
                        and self._holds(key, length, sha256)
                    ):
                        return
                    raise
        self._confirm(key, length, sha256, etag, secret)

    def size(self, key: str) -> int:
        return int(self._head(check_key(key))["ContentLength"])

    def read(self, key: str, offset: int, length: int) -> bytes:
        return b"".join(self.stream(key, offset, length))

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        check_key(key)
        if length == 0:
            self.size(key)
            return iter(())
        span = f"bytes={offset}-{offset + length - 1}"
        answer = self._opened(f"read {key}", key, self._client.get_object, Range=span)
        return self._pieces(answer["Body"], key, length)

    def exists(self, key: str) -> bool:
        try:
            self._head(check_key(key))
        except ObjectMissing:
            return False
        return True

    def key_id(self, key: str) -> str | None:
        return _key_id(self._head(check_key(key)))

    def modified(self, key: str) -> datetime:
        found: datetime = self._head(check_key(key))["LastModified"]
        return found

    def list(self, prefix: str) -> Iterator[str]:
        with translated(f"list {prefix}*"):
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            ):
                for entry in page.get("Contents", []):
                    yield entry["Key"]

    def delete(self, key: str) -> None:
        with translated(f"delete {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=check_key(key))

    def end_unfinished(self, before: datetime) -> int:
        ended = 0
        with translated("end unfinished uploads"):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < before:
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                        ended += 1
        return ended

    def reencrypt(self, key: str) -> bool:
        """Encrypt an object with the newest key of its institution, in place; False if it was so already.

        Readers see the old object or the new one; the content is checked against its SHA-256 before. An object
        that is deleted meanwhile stays deleted. RGW copies no encrypted object, so its bytes come and go here.
        """
        head = self._head(check_key(key))
        secret = self._keys.for_writing(key)
        if secret is None or _key_id(head) == secret.key_id:
            return False
        sha256, length = head["Metadata"].get("sha256"), int(head["ContentLength"])
        if sha256 is None:
            raise ObjectDamaged(
                f"{key} has no SHA-256 in its metadata: it was not put by an archive; look at it"
            )
        # By ranges and twice, for its digest and for sending: a copy on disk would lie there in clear.
        with io.BufferedReader(RangeFile(partial(self.read, key), 0, length), _AHEAD) as content:
            try:
                self._write(key, content, length, sha256, {"IfMatch": "*"})
            except ObjectStoreError:
                if self.exists(key):
                    raise
                return False
        return True

    def _head(self, key: str) -> Any:
        return self._opened(f"look at {key}", key, self._client.head_object)

    def _opened(self, what: str, key: str, ask: Callable[..., Any], **arguments: Any) -> Any:
        """The answer to the first of the object's possible keys that the gateway takes."""
        with translated(what):
            for secret in self._keys.candidates(key):
                extra = secret.arguments() if secret else {}
                try:
                    answer = ask(Bucket=self._bucket, Key=key, **arguments, **extra)
                except ClientError as error:
                    if code_of(error) not in WRONG_KEY:
                        raise
                    continue
                # RGW ignores a key that an object in clear does not need, and then names no algorithm.
                used = secret.key_id if secret and "SSECustomerAlgorithm" in answer else None
                self._keys.remember(key, used)
                return answer
        raise KeyUnusable(f"cannot {what}: it is encrypted with a key that is not here; restore keys/")

    def _holds(self, key: str, length: int, sha256: str) -> bool:
        """Whether the key holds this content; False if it is free. Raises `ObjectConflict`."""
        try:
            head = self._head(key)
        except ObjectMissing:
            return False
        if head["ContentLength"] != length or head["Metadata"].get("sha256") != sha256:
            raise ObjectConflict(f"{key} already holds other content; it was not overwritten")
        return True

    def _confirm(self, key: str, length: int, sha256: str, etag: str, secret: CustomerKey | None) -> None:
        """Read back what the gateway now says it holds; only then is the object believed, and believed encrypted."""
        if secret is not None:
            self._keys.remember(key, secret.key_id)
        head = self._head(key)
        found = (
            head["ContentLength"],
            head["Metadata"].get("sha256"),
            head["ETag"].strip('"'),
            _key_id(head),
        )
        wanted = (length, sha256, etag, secret.key_id if secret else None)
        if found != wanted:
            raise ObjectDamaged(f"{key} was stored as {found}, not as {wanted}; put it again")

    @staticmethod
    def _pieces(body: Any, key: str, length: int) -> Iterator[bytes]:
        received = 0
        with body, translated(f"read {key}"):
            for piece in body.iter_chunks(PIECE):
                received += len(piece)
                yield piece
        if received != length:
            raise ObjectDamaged(f"{key} ends {length - received} bytes before the range that was asked for")


def _key_id(head: Any) -> str | None:
    """The data key that an object which was just opened is encrypted with."""
    return str(head["Metadata"].get("key-id", "")) if "SSECustomerAlgorithm" in head else None
