"""One body on its way to S3: digested before it is sent, whole or in parts, each part with its Content-MD5."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import md5
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from services.archive.adapters.content import PIECE, pieces

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class Part(NamedTuple):
    """What one request carries."""

    length: int
    md5: bytes

    @property
    def content_md5(self) -> str:
        return base64.b64encode(self.md5).decode()


class Upload:
    """The body `file` for `common` (bucket, key, SSE-C); `described`: its metadata; `condition`: when it may land.

    Raises the client's errors. Nothing is visible before the whole body has arrived.
    """

    def __init__(
        self, client: S3Client, common: dict[str, Any], described: dict[str, Any], condition: dict[str, Any]
    ) -> None:
        self._client, self._common = client, common
        self._described, self._condition = described, condition

    def send(self, file: BinaryIO, parts: Sequence[Part]) -> str:
        """Send the parts; the ETag that the object must have then."""
        return self._whole(file, parts[0]) if len(parts) == 1 else self._in_parts(file, parts)

    def _whole(self, file: BinaryIO, part: Part) -> str:
        self._client.put_object(
            Body=file,
            ContentLength=part.length,
            ContentMD5=part.content_md5,
            **self._common,
            **self._described,
            **self._condition,
        )
        return part.md5.hex()

    def _in_parts(self, file: BinaryIO, parts: Sequence[Part]) -> str:
        place = {name: self._common[name] for name in ("Bucket", "Key")}
        upload = self._client.create_multipart_upload(**self._common, **self._described)["UploadId"]
        try:
            done: list[Any] = []
            for number, part in enumerate(parts, start=1):
                answer = self._client.upload_part(
                    UploadId=upload,
                    PartNumber=number,
                    Body=file.read(part.length),
                    ContentLength=part.length,
                    ContentMD5=part.content_md5,
                    **self._common,
                )
                done.append({"ETag": answer["ETag"], "PartNumber": number})
            self._client.complete_multipart_upload(
                UploadId=upload, MultipartUpload={"Parts": done}, **place, **self._condition
            )
        except BaseException:
            # Parts of an upload that never completes are paid for and seen by nobody.
            self._client.abort_multipart_upload(UploadId=upload, **place)
            raise
        whole = md5(b"".join(part.md5 for part in parts), usedforsecurity=False).hexdigest()
        return f"{whole}-{len(parts)}"


def parts_of(file: BinaryIO, length: int, sha256: str, part_bytes: int) -> tuple[Part, ...]:
    """The parts that will be sent; the content as a whole must be what was announced (`ObjectDamaged`)."""
    parts: tuple[Part, ...] = ()
    digest, filled = md5(usedforsecurity=False), 0
    for piece in pieces(file, length, sha256):
        view = memoryview(piece)
        while view:
            taken = view[: part_bytes - filled]
            digest.update(taken)
            filled += len(taken)
            view = view[len(taken) :]
            if filled == part_bytes:
                parts += (Part(filled, digest.digest()),)
                digest, filled = md5(usedforsecurity=False), 0
    if filled or not parts:
        parts += (Part(filled, digest.digest()),)
    return parts


@contextmanager
def seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself, or a copy on disk: the body is digested before it is sent, and may be sent twice."""
    if stream.seekable() and stream.tell() == 0:
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, PIECE)
        copy.seek(0)
        yield copy
