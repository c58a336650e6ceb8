"""An object as it lies at the second site: encrypted here, authenticated in pieces, readable by ranges.

    "PACSEAL1" | u32 header length | header | chunks | end

The header is canonical JSON `{"format":1,"region","key_id","object_key","length","salt" (hex)}`; a chunk is 1 MiB of the
object (the last one less) and a tag; the end is the object's SHA-256 and a tag. AES-256-GCM under the key that
follows from data key, object key and salt; the nonce counts the chunks, header and position are authenticated.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.archive.encryption.data_key import DataKey
from services.archive.ports import ObjectDamaged

MAGIC = b"PACSEAL1"
FORMAT = 1
CHUNK = 1 << 20
_TAG, _DIGEST, _MOST_HEADER = 16, 32, 4096
ReadRange = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Written:
    """What `seal` wrote: bytes, and their SHA-256."""

    length: int
    sha256: str


def seal(
    key: DataKey, region: str, object_key: str, pieces: Iterator[bytes], target: BinaryIO, *, length: int
) -> Written:
    """Write `pieces`, `length` bytes in all, sealed to `target`. Raises `ObjectDamaged` for another length."""
    salt = secrets.token_hex(16)
    given = {
        "format": FORMAT, "region": region, "key_id": key.key_id, "object_key": object_key,
        "length": length, "salt": salt,
    }  # fmt: skip
    header = json.dumps(given, sort_keys=True, separators=(",", ":")).encode()
    cipher, bound = _cipher(key, object_key, salt), sha256(header).digest()
    written, plain, total = sha256(), sha256(), 0

    def write(content: bytes) -> None:
        nonlocal total
        written.update(content)
        total += len(content)
        target.write(content)

    write(MAGIC + len(header).to_bytes(4, "little") + header)
    chunks = seen = 0
    for chunk in _chunks(pieces):
        plain.update(chunk)
        seen += len(chunk)
        write(cipher.encrypt(_nonce(chunks), chunk, bound))
        chunks += 1
    if seen != length:
        raise ObjectDamaged(f"{object_key} has {seen} bytes, {length} were announced")
    write(cipher.encrypt(_nonce(chunks), plain.digest(), bound + b"end"))
    return Written(total, written.hexdigest())


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A sealed object whose header and end are sound; `sha256` is of the clear content."""

    object_key: str
    key_id: str
    length: int
    sha256: str
    _read: ReadRange = field(repr=False)
    _cipher: AESGCM = field(repr=False)
    _bound: bytes = field(repr=False)
    _start: int = field(repr=False)

    @classmethod
    def open(
        cls, read: ReadRange, size: int, region: str, object_key: str, find: Callable[[str], DataKey]
    ) -> SealedObject:
        """Open what `read` gives, `size` bytes in all; `find` gives the data key with an id.

        Raises `ObjectDamaged` where it is none, another one, cut off or altered; what `find` raises.
        """
        header, start = _header(read, size, object_key)
        given = _parsed(header, object_key)
        if given["format"] != FORMAT or given["region"] != region or given["object_key"] != object_key:
            raise ObjectDamaged(f"{object_key} at the second site is another object, region or format")
        length = given["length"]
        chunks = -(-length // CHUNK)
        if size != start + length + chunks * _TAG + _DIGEST + _TAG:
            raise ObjectDamaged(f"{object_key} at the second site was cut off")
        cipher, bound = _cipher(find(given["key_id"]), object_key, given["salt"]), sha256(header).digest()
        end = read(size - _DIGEST - _TAG, _DIGEST + _TAG)
        digest = _opened(cipher, chunks, end, bound + b"end", object_key)
        return cls(object_key, given["key_id"], length, digest.hex(), read, cipher, bound, start)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes of the clear content. Raises `ObjectDamaged`."""
        if not 0 <= offset <= offset + length <= self.length:
            raise ObjectDamaged(
                f"{self.object_key} has {self.length} bytes; {length} from {offset} were asked for"
            )
        if length == 0:
            return b""
        first, last = offset // CHUNK, (offset + length - 1) // CHUNK
        begin = self._start + first * (CHUNK + _TAG)
        end = self._start + min((last + 1) * CHUNK, self.length) + (last + 1) * _TAG
        sealed, clear = self._read(begin, end - begin), []
        for number in range(first, last + 1):
            at = (number - first) * (CHUNK + _TAG)
            chunk = sealed[at : at + CHUNK + _TAG]
            clear.append(_opened(self._cipher, number, chunk, self._bound, self.object_key))
        return b"".join(clear)[offset - first * CHUNK :][:length]


def _header(read: ReadRange, size: int, object_key: str) -> tuple[bytes, int]:
    prefix = len(MAGIC) + 4
    begin = read(0, prefix) if size >= prefix else b""
    length = int.from_bytes(begin[len(MAGIC) :], "little")
    if not begin.startswith(MAGIC) or length > min(_MOST_HEADER, size - prefix):
        raise ObjectDamaged(f"{object_key} at the second site is no sealed object")
    return read(prefix, length), prefix + length


def _parsed(header: bytes, object_key: str) -> dict[str, Any]:
    try:
        given: dict[str, Any] = json.loads(header)
        texts = [given[name] for name in ("region", "key_id", "object_key", "salt")]
        sound = all(isinstance(text, str) for text in texts) and type(given["length"]) is int
        sound = sound and given["length"] >= 0 and "format" in given
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ObjectDamaged(f"{object_key} at the second site has a header that cannot be read")
    return given


def _chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of 1 MiB, the last one less."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK:
            yield bytes(waiting[:CHUNK])
            del waiting[:CHUNK]
    if waiting:
        yield bytes(waiting)


def _cipher(key: DataKey, object_key: str, salt: str) -> AESGCM:
    return AESGCM(key.derive(f"second copy {salt}", object_key))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _opened(cipher: AESGCM, number: int, sealed: bytes, bound: bytes, object_key: str) -> bytes:
    try:
        return cipher.decrypt(_nonce(number), sealed, bound)
    except (InvalidTag, ValueError) as error:
        raise ObjectDamaged(f"{object_key} at the second site was altered (chunk {number})") from error
