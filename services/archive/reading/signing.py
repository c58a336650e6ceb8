"""Signed GETs of single objects (AWS Signature Version 4, query form) that somebody else will send.

Whoever holds a signed target reads this one object, any range of it, until it expires; the secret key stays
here. The key of a day is derived once, so that a signature costs three hashes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol
from urllib.parse import quote, urlsplit

from services.archive.adapters.keys import check_key
from services.common.clock import Clock

VALID_SECONDS = 900
"""How long a target is good for; whoever was given it asks for a new one in time."""
_ALGORITHM = "AWS4-HMAC-SHA256"
CUSTOMER = "x-amz-server-side-encryption-customer-"


@dataclass(frozen=True, slots=True)
class SignedGet:
    """A GET that the store will answer until `expires` (Unix seconds), if it comes with these headers too.

    The headers are those of SSE-C by lower-case name, none for an object in clear; they are secrets.
    """

    target: str
    expires: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class ObjectSigner(Protocol):
    """Who may let others read an object."""

    def sign(self, key: str, key_id: str | None) -> SignedGet:
        """A GET of the object `key`, good for about `VALID_SECONDS`; `key_id` is the index row's data key.

        Raises `ValueError` for what is no key of an object, `ObjectStoreError` where its data key cannot be used.
        """


class KeyHeaders(Protocol):
    """Which headers open an encrypted object."""

    def headers(self, object_key: str, key_id: str | None) -> dict[str, str]:
        """The SSE-C headers; empty for an object in clear."""


class S3Signer:
    """`ObjectSigner` for one bucket of an S3 endpoint that is addressed by path."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        clock: Clock,
        keys: KeyHeaders | None = None,
        region: str = "us-east-1",
    ) -> None:
        parts = urlsplit(endpoint)
        # A client leaves the scheme's own port out of the Host header, and that header is signed.
        self._host = (parts.hostname or "") + ("" if parts.port in (None, 443) else f":{parts.port}")
        self._bucket, self._access_key, self._secret_key = bucket, access_key, secret_key
        self._clock, self._keys, self._region = clock, keys, region
        self._lock = Lock()
        self._day, self._day_key = "", b""

    def sign(self, key: str, key_id: str | None) -> SignedGet:
        """See `ObjectSigner`."""
        now = self._clock.now()
        day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{day}/{self._region}/s3/aws4_request"
        path = f"/{self._bucket}/{check_key(key)}"
        opening = self._keys.headers(key, key_id) if self._keys else {}
        secret = {name.lower(): value for name, value in opening.items()}
        headers = {"host": self._host} | secret
        names = ";".join(sorted(headers))
        query = "&".join(
            f"{name}={quote(value, safe='')}"
            for name, value in (
                ("X-Amz-Algorithm", _ALGORITHM),
                ("X-Amz-Credential", f"{self._access_key}/{scope}"),
                ("X-Amz-Date", moment),
                ("X-Amz-Expires", str(VALID_SECONDS)),
                ("X-Amz-SignedHeaders", names),
            )
        )
        canonical = "\n".join(
            [
                "GET",
                path,
                query,
                *(f"{name}:{headers[name]}" for name in sorted(headers)),
                "",
                names,
                "UNSIGNED-PAYLOAD",
            ]
        )
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(day), text.encode(), "sha256").hex()
        return SignedGet(
            f"{path}?{query}&X-Amz-Signature={signature}", int(now.timestamp()) + VALID_SECONDS, secret
        )

    def _key_of(self, day: str) -> bytes:
        with self._lock:
            if day != self._day:
                key = b"AWS4" + self._secret_key.encode()
                for step in (day, self._region, "s3", "aws4_request"):
                    key = hmac.digest(key, step.encode(), "sha256")
                self._day, self._day_key = day, key
            return self._day_key
