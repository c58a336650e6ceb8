"""Which key an object of the bucket is encrypted with (SSE-C), and the headers that open it.

Whoever reads objects past the archive (nginx, from RGW) takes the headers from `CustomerKeys.headers`:

    headers = parts.keys.headers(instance.object_key, instance.key_id) if parts.keys else {}

They are three for an encrypted object and none for one in clear. They open this object alone, are secrets
(never in a log or a cache key), and belong into the signed or presigned request.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, Protocol

from services.archive.encryption.data_key import PREFIX, DataKey, owner_of
from services.archive.encryption.key_ring import KeyRing

ALGORITHM = "AES256"
REMEMBERED = 100_000
_HEADER = "x-amz-server-side-encryption-customer-"


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """The key of one object, as an S3 request names it."""

    key_id: str
    """The data key that it is derived from."""
    material: bytes = field(repr=False)

    @classmethod
    def of(cls, key: DataKey, object_key: str) -> CustomerKey:
        return cls(key.key_id, key.derive("sse-c", object_key))

    def arguments(self) -> dict[str, Any]:
        """For boto3, which encodes them and adds the key's MD5."""
        return {"SSECustomerAlgorithm": ALGORITHM, "SSECustomerKey": self.material}

    def headers(self) -> dict[str, str]:
        """As they go over the wire."""
        digest = md5(self.material, usedforsecurity=False).digest()
        return {
            f"{_HEADER}algorithm": ALGORITHM,
            f"{_HEADER}key": base64.b64encode(self.material).decode(),
            f"{_HEADER}key-MD5": base64.b64encode(digest).decode(),
        }


class ObjectKeys(Protocol):
    """What a store asks: with which key to write, and which may open what is there."""

    def for_writing(self, object_key: str) -> CustomerKey | None:
        """The key that this object is to be encrypted with; None: it is stored in clear."""

    def candidates(self, object_key: str) -> Iterator[CustomerKey | None]:
        """Every key that may open the object, the likeliest first; None stands for no key."""

    def remember(self, object_key: str, key_id: str | None) -> None:
        """This is the one (None: the object is in clear)."""


class NoKeys:
    """`ObjectKeys` of a store without encryption."""

    def for_writing(self, object_key: str) -> CustomerKey | None:
        return None

    def candidates(self, object_key: str) -> Iterator[CustomerKey | None]:
        yield None

    def remember(self, object_key: str, key_id: str | None) -> None:
        """There is nothing to choose from."""


class CustomerKeys:
    """`ObjectKeys` over the data keys of the objects' institutions. `keys/` is in clear: it holds wrapped keys only.

    Methods raise what `KeyRing` raises.
    """

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self._remembered: OrderedDict[str, str | None] = OrderedDict()
        self._lock = threading.Lock()

    def for_writing(self, object_key: str) -> CustomerKey | None:
        if object_key.startswith(PREFIX):
            return None
        return CustomerKey.of(self.ring.for_writing(owner_of(object_key)), object_key)

    def candidates(self, object_key: str) -> Iterator[CustomerKey | None]:
        if object_key.startswith(PREFIX):
            yield None
            return
        owner, tried = owner_of(object_key), set[str]()
        with self._lock:
            known = object_key in self._remembered
            likeliest = self._remembered.get(object_key)
        if likeliest is not None:
            yield CustomerKey.of(self.ring.find(owner, likeliest), object_key)
            tried.add(likeliest)
        elif known:
            yield None
        # Looked up anew before giving up: another replica may have made the key a moment ago.
        for fresh in (False, True):
            for key in self.ring.all(owner, fresh=fresh):
                if key.key_id not in tried:
                    tried.add(key.key_id)
                    yield CustomerKey.of(key, object_key)
        yield None

    def remember(self, object_key: str, key_id: str | None) -> None:
        with self._lock:
            self._remembered[object_key] = key_id
            self._remembered.move_to_end(object_key)
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    def headers(self, object_key: str, key_id: str | None) -> dict[str, str]:
        """The SSE-C headers that open `object_key`, whose index row names `key_id`; empty for an object in clear.

        RGW ignores them for an object in clear, and answers 400 where the row is older than a new encryption:
        then ask the index again.
        """
        if key_id is None:
            return {}
        return CustomerKey.of(self.ring.find(owner_of(object_key), key_id), object_key).headers()
