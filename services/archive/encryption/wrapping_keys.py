"""The region's wrapping keys as one file: made on the operator's machine, mounted where the archive runs.

One key is current; a rotation adds a new one and keeps the old until every data key is wrapped anew.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.archive.ports import KeyUnusable

FORMAT = 1
KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """A key of 256 bits that wraps data keys and nothing else."""

    key_id: str
    created_at: str
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class WrappingKeys:
    """All wrapping keys of a region, newest first; the first one is current."""

    region: str
    keys: tuple[WrappingKey, ...]

    @classmethod
    def generate(cls, region: str, created_at: str) -> WrappingKeys:
        """A region's first key. `created_at` is RFC 3339 in UTC."""
        return cls(region, (_new_key(created_at),))

    @property
    def current(self) -> WrappingKey:
        return self.keys[0]

    def rotated(self, created_at: str) -> WrappingKeys:
        """With a new current key; the others stay until `only_current`."""
        return replace(self, keys=(_new_key(created_at), *self.keys))

    def only_current(self) -> WrappingKeys:
        """Without the old keys: for when nothing is wrapped by them any more."""
        return replace(self, keys=self.keys[:1])

    def joined(self, other: WrappingKeys) -> WrappingKeys:
        """The keys of both, the newest current: what comes back from an escrow replaces nothing."""
        keys = {key.key_id: key for key in (*other.keys, *self.keys)}
        newest_first = sorted(keys.values(), key=lambda key: (key.created_at, key.key_id), reverse=True)
        return replace(self, keys=tuple(newest_first))

    def document(self) -> bytes:
        """The file's form, the keys in clear: for a place that only the archive reads, or to be sealed."""
        keys = [
            {
                "id": key.key_id,
                "created_at": key.created_at,
                "key": base64.b64encode(key.material).decode(),
            }
            for key in self.keys
        ]
        return json.dumps({"format": FORMAT, "region": self.region, "keys": keys}, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, document: bytes, where: str) -> WrappingKeys:
        """Read what `document` wrote; `where` is for people, nothing of the keys gets into an error.

        Raises `KeyUnusable`.
        """
        try:
            given: dict[str, Any] = json.loads(document)
            if given["format"] != FORMAT:
                raise KeyUnusable(f"{where} has the format {given['format']!r}; this program reads {FORMAT}")
            keys = tuple(_parse_key(entry) for entry in given["keys"])
            region = str(given["region"])
        except (ValueError, KeyError, TypeError):
            keys, region = (), ""
        if not keys or len({key.key_id for key in keys}) != len(keys):
            raise KeyUnusable(
                f"{where} is no file of wrapping keys; restore it from the escrow (./pacs keys restore)"
            )
        return cls(region, keys)


class FileKeyProvider:
    """`KeyProvider` over such a file, AES-256-GCM. The file is read for each call: no wrapping key stays in memory."""

    def __init__(self, path: Path, region: str) -> None:
        self._path, self._region = path, region

    def current(self) -> str:
        return self._read().current.key_id

    def known(self) -> frozenset[str]:
        return frozenset(key.key_id for key in self._read().keys)

    def wrap(self, material: bytes, context: bytes, wrapping_key_id: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._material(wrapping_key_id)).encrypt(nonce, material, context)

    def unwrap(self, wrapped: bytes, context: bytes, wrapping_key_id: str) -> bytes:
        key = AESGCM(self._material(wrapping_key_id))
        try:
            return key.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise KeyUnusable(
                f"a data key does not open with the wrapping key {wrapping_key_id}: it was altered, or belongs to "
                "another region or institution; restore it from the database or the second copy"
            ) from error

    def _material(self, wrapping_key_id: str) -> bytes:
        for key in self._read().keys:
            if key.key_id == wrapping_key_id:
                return key.material
        raise KeyUnusable(
            f"the wrapping key {wrapping_key_id} is not in {self._path}; "
            "restore it from the escrow (./pacs keys restore)"
        )

    def _read(self) -> WrappingKeys:
        try:
            document = self._path.read_bytes()
        except OSError as error:
            raise KeyUnusable(
                f"the wrapping keys cannot be read from {self._path}: {error.strerror}; run ./pacs up on the "
                "operator's machine, or ./pacs keys restore where that lost them"
            ) from error
        keys = WrappingKeys.parse(document, str(self._path))
        if keys.region != self._region:
            raise KeyUnusable(
                f"{self._path} holds the wrapping keys of the region {keys.region!r}; this archive is of {self._region!r}"
            )
        return keys


def _new_key(created_at: str) -> WrappingKey:
    return WrappingKey(secrets.token_hex(8), created_at, secrets.token_bytes(KEY_BYTES))


def _parse_key(entry: dict[str, Any]) -> WrappingKey:
    material = base64.b64decode(entry["key"], validate=True)
    if len(material) != KEY_BYTES:
        raise ValueError("a wrapping key has 256 bits")
    return WrappingKey(str(entry["id"]), str(entry["created_at"]), material)
