"""An institution's data key, clear and wrapped, and the key of one object that is derived from it.

RGW encrypts an object of SSE-C in CBC with an initialisation vector that follows from the offset alone: two
objects under one key betray where they are equal. So no data key ever goes to the gateway. Each object has a
key of its own, HKDF-SHA256 (RFC 5869) of the data key and the object's name; whoever gets hold of one can open
that one object.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.archive.ports import KeyUnusable

KEY_BYTES = 32
FORMAT = 1
PREFIX = "keys/"
REGION_OWNED = "_region"
"""In the place of an institution: objects that none owns. No institution can be called so."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key of 256 bits that everything of one institution is encrypted under until the next one is made."""

    institution: str
    key_id: str
    created_at: str
    material: bytes = field(repr=False)

    @classmethod
    def generate(cls, institution: str, created_at: str) -> DataKey:
        """A new key from the operating system's random numbers; `created_at` is RFC 3339 in UTC."""
        return cls(institution, secrets.token_hex(8), created_at, secrets.token_bytes(KEY_BYTES))

    def derive(self, purpose: str, object_key: str) -> bytes:
        """The key of 256 bits of one object for one purpose; the same again for the same names."""
        info = b"\0".join((b"pacs", purpose.encode(), object_key.encode()))
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self.material)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored: encrypted with one wrapping key, bound to region, institution and id."""

    region: str
    institution: str
    key_id: str
    created_at: str
    wrapping_key_id: str
    wrapped: bytes = field(repr=False)

    @property
    def object_key(self) -> str:
        """Where it lies beside the packs: each wrapping of a key is an object of its own, never overwritten."""
        return f"{PREFIX}{self.institution}/{self.key_id}/{self.wrapping_key_id}.json"

    @property
    def context(self) -> bytes:
        """What the wrapping is bound to."""
        return context_of(self.region, self.institution, self.key_id, self.created_at)

    def document(self) -> bytes:
        """The stored form (docs/contracts.md, section 18): canonical JSON."""
        return _canonical({
            "format": FORMAT, "region": self.region, "institution": self.institution, "key_id": self.key_id,
            "created_at": self.created_at, "wrapping_key_id": self.wrapping_key_id,
            "wrapped_key": base64.b64encode(self.wrapped).decode(),
        })  # fmt: skip

    @classmethod
    def parse(cls, document: bytes, where: str) -> WrappedKey:
        """Read what `document` wrote; `where` is for people. Raises `KeyUnusable`."""
        try:
            given: dict[str, Any] = json.loads(document)
            if given["format"] != FORMAT:
                raise KeyUnusable(
                    f"{where} has the format {given['format']!r}; this program reads {FORMAT}: run the one that wrote it"
                )
            return cls(
                region=str(given["region"]),
                institution=str(given["institution"]),
                key_id=str(given["key_id"]),
                created_at=str(given["created_at"]),
                wrapping_key_id=str(given["wrapping_key_id"]),
                wrapped=base64.b64decode(given["wrapped_key"], validate=True),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise KeyUnusable(
                f"{where} is no wrapped key ({type(error).__name__}); restore it from the database or the second copy"
            ) from error


def context_of(region: str, institution: str, key_id: str, created_at: str) -> bytes:
    """The context that a data key's wrapping is authenticated with."""
    return _canonical({
        "purpose": "pacs data key", "format": FORMAT, "region": region, "institution": institution,
        "key_id": key_id, "created_at": created_at,
    })  # fmt: skip


def owner_of(object_key: str) -> str:
    """The institution whose key an object is encrypted with: the second part of `<kind>/<institution>/...`."""
    parts = object_key.split("/")
    return parts[1] if len(parts) > 2 else REGION_OWNED


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
