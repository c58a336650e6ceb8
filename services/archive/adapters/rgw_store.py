"""An object store in a bucket of Ceph RGW, reached through boto3 over TLS: the centre's packs.

Every body carries a Content-MD5, so that the gateway itself refuses bytes that changed on the way; after
the put, length, ETag and the SHA-256 in the metadata are read back. Keys are never overwritten.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from services.archive.adapters.content import PIECE, opened, pieces
from services.archive.adapters.keys import check_key
from services.archive.ports import (
    ObjectConflict,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    StoreOutOfRoom,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART_BYTES = 64 << 20
"""Bodies up to this length go in one request, longer ones in parts of it (S3 allows 10,000 parts)."""

_MISSING = {"404", "NoSuchKey", "NotFound"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "EntityTooLarge", "507"}
_DAMAGED = {"BadDigest", "InvalidRange", "416", "InvalidPart", "IncompleteBody"}
_TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict"}


class _Part(NamedTuple):
    length: int
    md5: bytes

    @property
    def content_md5(self) -> str:
        return base64.b64encode(self.md5).decode()


class RgwStore:
    """`ObjectStore` over one bucket that exists already; safe to use from many threads."""

    def __init__(self, client: S3Client, bucket: str, *, part_bytes: int = PART_BYTES) -> None:
        self._client, self._bucket, self._part_bytes = client, bucket, part_bytes

    @classmethod
    def connect(
        cls,
        endpoint: str,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        ca_file: Path,
        connections: int = 16,
    ) -> RgwStore:
        """The store at `endpoint` (https://host:port), whose certificate must chain to `ca_file`."""
        if not endpoint.startswith("https://"):
            raise ValueError(f"{endpoint} is not an https address: packs and keys travel over TLS only")
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name="us-east-1",  # RGW's default zone group answers to any name; SigV4 wants one
            verify=str(ca_file),
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

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str) -> None:
        check_key(key)
        if self._holds(key, length, sha256):
            return
        with opened(source) as stream, _seekable(stream) as file:
            parts = self._digest(file, length, sha256)
            file.seek(0)
            with _translated(f"store {key}"):
                try:
                    if len(parts) == 1:
                        etag = self._put_whole(key, file, parts[0], sha256)
                    else:
                        etag = self._put_parts(key, file, parts, sha256)
                except ClientError as error:
                    # Another writer was faster: that is success or conflict, as if it had come long before.
                    if _code(error) in _TAKEN and self._holds(key, length, sha256):
                        return
                    raise
        self._confirm(key, length, sha256, etag)

    def size(self, key: str) -> int:
        return int(self._head(check_key(key))["ContentLength"])

    def read(self, key: str, offset: int, length: int) -> bytes:
        return b"".join(self.stream(key, offset, length))

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        check_key(key)
        if length == 0:
            self.size(key)
            return iter(())
        with _translated(f"read {key}"):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={offset}-{offset + length - 1}"
            )
        return self._pieces(answer["Body"], key, length)

    def exists(self, key: str) -> bool:
        try:
            self._head(check_key(key))
        except ObjectMissing:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        with _translated(f"list {prefix}*"):
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            ):
                for entry in page.get("Contents", []):
                    yield entry["Key"]

    def delete(self, key: str) -> None:
        with _translated(f"delete {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=check_key(key))

    def _head(self, key: str) -> Any:
        with _translated(f"look at {key}"):
            return self._client.head_object(Bucket=self._bucket, Key=key)

    def _holds(self, key: str, length: int, sha256: str) -> bool:
        """Whether the key holds this content; False if it is free. Raises `ObjectConflict`."""
        try:
            head = self._head(key)
        except ObjectMissing:
            return False
        if head["ContentLength"] != length or head["Metadata"].get("sha256") != sha256:
            raise ObjectConflict(f"{key} already holds other content; it was not overwritten")
        return True

    def _digest(self, file: BinaryIO, length: int, sha256: str) -> tuple[_Part, ...]:
        """MD5 of each part that will be sent; the content as a whole must be what was announced."""
        parts: tuple[_Part, ...] = ()
        digest, filled = md5(usedforsecurity=False), 0
        for piece in pieces(file, length, sha256):
            view = memoryview(piece)
            while view:
                taken = view[: self._part_bytes - filled]
                digest.update(taken)
                filled += len(taken)
                view = view[len(taken) :]
                if filled == self._part_bytes:
                    parts += (_Part(filled, digest.digest()),)
                    digest, filled = md5(usedforsecurity=False), 0
        if filled or not parts:
            parts += (_Part(filled, digest.digest()),)
        return parts

    def _put_whole(self, key: str, file: BinaryIO, part: _Part, sha256: str) -> str:
        self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=file,
            ContentLength=part.length,
            ContentMD5=part.content_md5,
            Metadata={"sha256": sha256},
            IfNoneMatch="*",
        )
        return part.md5.hex()

    def _put_parts(self, key: str, file: BinaryIO, parts: tuple[_Part, ...], sha256: str) -> str:
        upload = self._client.create_multipart_upload(
            Bucket=self._bucket, Key=key, Metadata={"sha256": sha256}
        )["UploadId"]
        try:
            done = []
            for number, part in enumerate(parts, start=1):
                answer = self._client.upload_part(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload,
                    PartNumber=number,
                    Body=file.read(part.length),
                    ContentLength=part.length,
                    ContentMD5=part.content_md5,
                )
                done.append({"ETag": answer["ETag"], "PartNumber": number})
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": done},  # type: ignore[typeddict-item]
                IfNoneMatch="*",
            )
        except BaseException:
            # Parts of an upload that never completes are paid for and seen by nobody.
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
            raise
        whole = md5(b"".join(part.md5 for part in parts), usedforsecurity=False).hexdigest()
        return f"{whole}-{len(parts)}"

    def _confirm(self, key: str, length: int, sha256: str, etag: str) -> None:
        """Read back what the gateway now says it holds; only then is the object believed."""
        head = self._head(key)
        found = (head["ContentLength"], head["Metadata"].get("sha256"), head["ETag"].strip('"'))
        if found != (length, sha256, etag):
            raise ObjectDamaged(f"{key} was stored as {found}, not as {(length, sha256, etag)}; put it again")

    @staticmethod
    def _pieces(body: Any, key: str, length: int) -> Iterator[bytes]:
        received = 0
        with body, _translated(f"read {key}"):
            for piece in body.iter_chunks(PIECE):
                received += len(piece)
                yield piece
        if received != length:
            raise ObjectDamaged(f"{key} ends {length - received} bytes before the range that was asked for")


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself, or a copy on disk: the body is digested before it is sent, and may be sent twice."""
    if stream.seekable() and stream.tell() == 0:
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, PIECE)
        copy.seek(0)
        yield copy


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except ObjectStoreError:
        raise
    except ClientError as error:
        code = _code(error)
        if code in _MISSING:
            raise ObjectMissing(f"cannot {what}: there is no such object") from error
        if code in _FULL:
            raise StoreOutOfRoom(f"cannot {what}: {code}; add storage or raise the quota") from error
        if code in _DAMAGED:
            raise ObjectDamaged(f"cannot {what}: the object store answers {code}") from error
        raise StoreUnavailable(f"cannot {what}: the object store answers {code}; try again later") from error
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable(f"cannot {what}: {error}; try again later") from error
