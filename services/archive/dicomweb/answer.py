"""What answers a retrieval: parts, their type, and what names exactly these bytes (RFC 9110 8.8.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from services.archive.dicomweb.accept import OCTETS, MediaRange
from services.archive.dicomweb.multipart import Part
from services.archive.errors import translate_store
from services.archive.index.records import StoredInstance
from services.archive.ports import ObjectStore
from services.common.errors import NotAcceptable


@dataclass(frozen=True, slots=True)
class Answer:
    """Parts to send, their type, and whether the client wants them as multipart; `etag` in its quotes."""

    parts: Sequence[Part]
    part_type: str
    multipart: bool
    etag: str | None = None


def etag_of(found: Sequence[StoredInstance], *representation: object) -> str:
    """A strong validator of these instances in this representation: it changes with every byte that would differ."""
    digest = sha256(repr(representation).encode())
    for one in found:
        digest.update(f"|{one.object_key}|{one.offset}|{one.transfer_syntax}|{one.digest}".encode())
    return f'"{digest.hexdigest()[:32]}"'


def stored_part(
    store: ObjectStore, stored: StoredInstance, content_type: str, offset: int, length: int
) -> Part:
    """Bytes of an instance as they lie in the store; any section of them can be had alone."""

    def section(start: int, count: int) -> Iterator[bytes]:
        with translate_store():
            yield from store.stream(stored.object_key, stored.offset + offset + start, count)

    return Part(content_type, length, partial(section, 0, length), section)


def made_part(content_type: str, content: bytes | bytearray) -> Part:
    """Bytes that were made already."""
    whole = bytes(content)
    return Part(
        content_type, len(whole), lambda: [whole], lambda start, count: [whole[start : start + count]]
    )


def octets(part: Part, ranges: Sequence[MediaRange], etag: str) -> Answer:
    """The part as octets, alone or as the only part of a multipart answer. Raises `NotAcceptable`."""
    for one in ranges:
        if one.takes(OCTETS) or one.takes(part.content_type):
            kind = part.content_type if one.takes(part.content_type) else OCTETS
            given = Part(kind, part.length, part.read, part.section)
            return Answer([given], kind, multipart=one.is_multipart or one.kind == "*/*", etag=etag)
    raise NotAcceptable(
        f"Bulk data of this attribute is given as {part.content_type} only.",
        action=f"Accept {part.content_type}, alone or in multipart/related.",
    )
