# ruff: noqa: N803 - boto3's own spelling
"""An S3 client in memory that treats customer keys (SSE-C) as RGW does (src/rgw/rgw_crypt.cc).

An object that was put with a key is opened by the same key alone, and looked at neither: 400. A key that comes
with a request for an object in clear is ignored, and the answer then names no algorithm.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody


@dataclass
class _Object:
    content: bytes
    etag: str
    metadata: dict[str, str]
    key: bytes | None
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))


class S3Double:
    """The calls that the archive makes of a boto3 client, over one bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self._uploads: dict[str, tuple[_Object, dict[int, bytes]]] = {}

    def put_object(self, *, Key: str, Body: Any, ContentMD5: str, **given: Any) -> dict[str, Any]:
        content = Body if isinstance(Body, bytes) else Body.read()
        digest = md5(content, usedforsecurity=False)
        if base64.b64encode(digest.digest()).decode() != ContentMD5:
            raise refusal("BadDigest", 400)
        self._check(Key, given)
        self.objects[Key] = _Object(content, f'"{digest.hexdigest()}"', given["Metadata"], _secret(given))
        return {"ETag": self.objects[Key].etag}

    def create_multipart_upload(self, **given: Any) -> dict[str, Any]:
        name = f"upload-{len(self._uploads)}"
        self._uploads[name] = (_Object(b"", "", given["Metadata"], _secret(given)), {})
        return {"UploadId": name}

    def upload_part(
        self, *, UploadId: str, PartNumber: int, Body: bytes, ContentMD5: str, **given: Any
    ) -> dict[str, Any]:
        target, parts = self._uploads[UploadId]
        if _secret(given) != target.key:
            raise refusal("InvalidArgument", 400)
        digest = md5(Body, usedforsecurity=False)
        if base64.b64encode(digest.digest()).decode() != ContentMD5:
            raise refusal("BadDigest", 400)
        parts[PartNumber] = Body
        return {"ETag": f'"{digest.hexdigest()}"'}

    def complete_multipart_upload(
        self, *, Key: str, UploadId: str, MultipartUpload: Any, **given: Any
    ) -> None:
        target, parts = self._uploads[UploadId]
        self._check(Key, given)
        del self._uploads[UploadId]
        digests = b"".join(md5(parts[n], usedforsecurity=False).digest() for n in sorted(parts))
        target.content = b"".join(parts[n] for n in sorted(parts))
        target.etag = f'"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'
        self.objects[Key] = target

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> None:
        self._uploads.pop(UploadId, None)

    def head_object(self, *, Key: str, **given: Any) -> dict[str, Any]:
        found = self._opened(Key, given, "404", "400")
        shown = {"SSECustomerAlgorithm": "AES256"} if found.key else {}
        return {
            "ContentLength": len(found.content),
            "ETag": found.etag,
            "Metadata": found.metadata,
            "LastModified": found.modified,
            **shown,
        }

    def get_object(self, *, Key: str, Range: str, **given: Any) -> dict[str, Any]:
        found = self._opened(Key, given, "NoSuchKey", "InvalidArgument")
        first, last = (int(word) for word in Range.removeprefix("bytes=").split("-"))
        if first >= len(found.content):
            raise refusal("InvalidRange", 416)
        content = found.content[first : last + 1]
        shown = {"SSECustomerAlgorithm": "AES256"} if found.key else {}
        return {"Body": StreamingBody(io.BytesIO(content), len(content)), **shown}

    def delete_object(self, *, Key: str, **_: Any) -> None:
        self.objects.pop(Key, None)

    def get_paginator(self, _: str) -> S3Double:
        return self

    def paginate(self, *, Prefix: str | None = None, **_: Any) -> Iterator[dict[str, Any]]:
        if Prefix is None:
            yield {"Uploads": [{"Key": "k", "UploadId": name, "Initiated": target.modified}
                               for name, (target, _) in self._uploads.items()]}  # fmt: skip
            return
        yield {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}

    def _check(self, key: str, given: dict[str, Any]) -> None:
        found = self.objects.get(key)
        if given.get("IfNoneMatch") == "*" and found is not None:
            raise refusal("PreconditionFailed", 412)
        # RGW compares a PUT's If-Match with the bare ETag: the quoted one that HEAD gives never matches.
        wanted = given.get("IfMatch", "*")
        if "IfMatch" in given and (found is None or wanted not in {"*", found.etag.strip('"')}):
            raise refusal("PreconditionFailed", 412)

    def _opened(self, key: str, given: dict[str, Any], missing: str, wrong: str) -> _Object:
        found = self.objects.get(key)
        if found is None:
            raise refusal(missing, 404)
        if found.key is not None and found.key != _secret(given):
            raise refusal(wrong, 400)
        return found


def refusal(code: str, status: int) -> ClientError:
    """What boto3 raises for this answer."""
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Double",
    )


def _secret(given: dict[str, Any]) -> bytes | None:
    secret: bytes | None = given.get("SSECustomerKey")
    return secret
