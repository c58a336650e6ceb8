"""A sealed object opens as what it is, by its own key, in any range, and shows every alteration."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.archive.encryption.data_key import DataKey
from services.archive.ports import KeyUnusable, ObjectDamaged
from services.archive.second_copy.sealed_object import CHUNK, SealedObject, seal

KEY = DataKey.generate("yanan", "2026-01-01T00:00:00.000000Z")
NAME = "packs/yanan/ab/abcd.pack"
LENGTHS = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7]


def content_of(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def sealed(content: bytes, key: DataKey = KEY, name: str = NAME) -> bytes:
    target = io.BytesIO()
    pieces = iter([content[at : at + 300_000] for at in range(0, len(content), 300_000)])
    written = seal(key, "local", name, pieces, target, length=len(content))
    document = target.getvalue()
    assert (written.length, written.sha256) == (len(document), sha256(document).hexdigest())
    return document


def opened(document: bytes, key: DataKey = KEY, name: str = NAME, region: str = "local") -> SealedObject:
    def find(key_id: str) -> DataKey:
        if key_id != key.key_id:
            raise KeyUnusable(key_id)
        return key

    return SealedObject.open(
        lambda offset, length: document[offset : offset + length], len(document), region, name, find
    )


@pytest.mark.parametrize("length", LENGTHS)
def test_what_was_sealed_opens_whole_with_its_digest(length: int) -> None:
    content = content_of(length)
    found = opened(sealed(content))
    assert found.read(0, length) == content
    assert (found.length, found.sha256) == (length, sha256(content).hexdigest())


def test_nothing_of_the_content_shows_and_no_two_seals_are_alike() -> None:
    content = b"MARKER^OF^A^TEST^PATIENT" * 10_000
    first, second = sealed(content), sealed(content)
    assert b"MARKER" not in first
    assert first[-1000:] != second[-1000:]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2 * CHUNK + 99), st.integers(0, 2 * CHUNK + 99))
def test_any_range_is_read_exactly(one: int, other: int) -> None:
    start, end = min(one, other), max(one, other)
    assert RANGED.read(start, end - start) == RANGED_CONTENT[start:end]


RANGED_CONTENT = content_of(2 * CHUNK + 99)
RANGED = opened(sealed(RANGED_CONTENT))


@pytest.mark.parametrize(("offset", "length"), [(0, 2 * CHUNK + 100), (2 * CHUNK + 99, 1), (-1, 1)])
def test_a_range_beyond_the_content_is_an_error(offset: int, length: int) -> None:
    with pytest.raises(ObjectDamaged):
        RANGED.read(offset, length)


def flipped(document: bytes, at: int) -> bytes:
    return document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]


def swapped(document: bytes) -> bytes:
    start = len(document) - 48 - 2 * (CHUNK + 16)
    one, other = (document[start + n * (CHUNK + 16) :][: CHUNK + 16] for n in (0, 1))
    return document[:start] + other + one + document[-48:]


@pytest.mark.parametrize(
    "alter",
    [
        lambda d: flipped(d, 0),
        lambda d: flipped(d, 9),
        lambda d: flipped(d, 40),
        lambda d: flipped(d, len(d) // 2),
        lambda d: flipped(d, len(d) - 1),
        lambda d: d[:-1],
        lambda d: d[: -(CHUNK + 16) - 48] + d[-48:],
        lambda d: d + b"\0",
        lambda d: d[:20],
        lambda d: b"",
        swapped,
    ],
)
def test_every_alteration_is_found(alter: Callable[[bytes], bytes]) -> None:
    document = sealed(content_of(2 * CHUNK))
    with pytest.raises((ObjectDamaged, KeyUnusable)):
        opened(alter(document)).read(0, 2 * CHUNK)


def test_a_sealed_object_under_another_name_in_another_region_or_by_another_key_does_not_open() -> None:
    document = sealed(b"content")
    with pytest.raises(ObjectDamaged):
        opened(document, name="packs/yanan/ab/other.pack")
    with pytest.raises(ObjectDamaged):
        opened(document, region="elsewhere")
    stranger = DataKey("yanan", KEY.key_id, KEY.created_at, bytes(32))
    with pytest.raises(ObjectDamaged):
        opened(document, key=stranger)


def test_fewer_bytes_than_announced_are_not_sealed() -> None:
    with pytest.raises(ObjectDamaged, match="announced"):
        seal(KEY, "local", NAME, iter([b"short"]), io.BytesIO(), length=10)


@pytest.mark.parametrize(
    "header",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"format":1,"key_id":"k","length":true}', b'{"length":-1}'],
)
def test_a_header_that_cannot_be_read_is_told_as_damage(header: bytes) -> None:
    with pytest.raises(ObjectDamaged):
        opened(b"PACSEAL1" + len(header).to_bytes(4, "little") + header + bytes(100))
