"""What every `ObjectStore` promises (docs/contracts.md, section 6). Adapters' test classes inherit it."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from services.archive.ports import ObjectConflict, ObjectDamaged, ObjectMissing, ObjectStore

KEY = "packs/yanan/ab/abcd.pack"
CONTENT = bytes(range(256)) * 40


class OneWay(io.RawIOBase):
    """A stream that cannot be rewound, as a request body cannot."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._inner.readinto(buffer)


def put(store: ObjectStore, content: bytes, key: str = KEY) -> None:
    store.put(key, io.BytesIO(content), len(content), sha256(content).hexdigest())


class ObjectStoreContract:
    """The rules; a subclass gives the fixture `store`, an empty one for each test."""

    def test_what_was_put_is_read_back(self, store: ObjectStore) -> None:
        put(store, CONTENT)
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT
        assert store.size(KEY) == len(CONTENT)

    def test_a_file_is_put_like_a_stream_and_stays_the_callers(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        path = tmp_path / "source"
        path.write_bytes(CONTENT)
        store.put(KEY, path, len(CONTENT), sha256(CONTENT).hexdigest())
        path.unlink()
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT

    def test_a_file_of_the_callers_own_is_put_as_it_is(self, store: ObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "source"
        path.write_bytes(CONTENT)
        with pytest.raises(ObjectDamaged):
            store.put(KEY, path, len(CONTENT) + 1, None)
        store.put(KEY, path, len(CONTENT), None)
        store.put(KEY, path, len(CONTENT), None)
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT
        path.unlink()
        path.write_bytes(b"x" * len(CONTENT))
        with pytest.raises(ObjectConflict):
            store.put(KEY, path, len(CONTENT), None)
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT

    def test_a_stream_that_nobody_announced_is_refused(self, store: ObjectStore) -> None:
        with pytest.raises(TypeError, match="SHA-256"):
            store.put(KEY, io.BytesIO(CONTENT), len(CONTENT), None)
        assert not store.exists(KEY)

    def test_a_stream_that_cannot_be_rewound_is_put_too(self, store: ObjectStore) -> None:
        store.put(KEY, io.BufferedReader(OneWay(CONTENT)), len(CONTENT), sha256(CONTENT).hexdigest())
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT

    def test_an_object_knows_when_it_was_put(self, store: ObjectStore) -> None:
        put(store, CONTENT)
        age = datetime.now(UTC) - store.modified(KEY)
        assert abs(age) < timedelta(minutes=10)
        with pytest.raises(ObjectMissing):
            store.modified("packs/yanan/none")

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        put(store, b"")
        assert store.exists(KEY)
        assert store.size(KEY) == 0
        assert store.read(KEY, 0, 0) == b""

    def test_any_range_inside_the_object_is_read_exactly(self, store: ObjectStore) -> None:
        put(store, CONTENT)
        chosen = random.Random(1)
        ends = [(0, 0), (0, 1), (len(CONTENT) - 1, len(CONTENT)), (len(CONTENT), len(CONTENT))]
        ends += [tuple(sorted(chosen.choices(range(len(CONTENT)), k=2))) for _ in range(20)]  # type: ignore[misc]
        for start, end in ends:
            assert store.read(KEY, start, end - start) == CONTENT[start:end]
            assert b"".join(store.stream(KEY, start, end - start)) == CONTENT[start:end]

    @pytest.mark.parametrize(("offset", "length"), [(len(CONTENT), 1), (0, len(CONTENT) + 1), (1 << 40, 5)])
    def test_a_range_beyond_the_object_is_an_error_not_a_short_answer(
        self, store: ObjectStore, offset: int, length: int
    ) -> None:
        put(store, CONTENT)
        with pytest.raises(ObjectDamaged):
            store.read(KEY, offset, length)
        with pytest.raises(ObjectDamaged):
            b"".join(store.stream(KEY, offset, length))

    def test_streams_come_in_pieces_of_at_most_a_mebibyte(self, store: ObjectStore) -> None:
        content = bytes(3 << 20)
        put(store, content)
        pieces = list(store.stream(KEY, 0, len(content)))
        assert max(map(len, pieces)) <= 1 << 20
        assert sum(map(len, pieces)) == len(content)

    def test_the_same_content_again_is_success(self, store: ObjectStore) -> None:
        put(store, CONTENT)
        put(store, CONTENT)
        assert list(store.list("packs/")) == [KEY]

    @pytest.mark.parametrize("other", [b"", b"x" * len(CONTENT), CONTENT + b"x"])
    def test_other_content_under_a_key_is_a_conflict_and_overwrites_nothing(
        self, store: ObjectStore, other: bytes
    ) -> None:
        put(store, CONTENT)
        with pytest.raises(ObjectConflict):
            put(store, other)
        assert store.read(KEY, 0, len(CONTENT)) == CONTENT

    @pytest.mark.parametrize("announced", [len(CONTENT) - 1, len(CONTENT) + 1, 0])
    def test_a_body_of_another_length_than_announced_is_refused_and_not_kept(
        self, store: ObjectStore, announced: int
    ) -> None:
        with pytest.raises(ObjectDamaged):
            store.put(KEY, io.BytesIO(CONTENT), announced, sha256(CONTENT).hexdigest())
        assert not store.exists(KEY)
        assert list(store.list("")) == []

    def test_a_body_with_another_digest_is_refused_and_not_kept(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectDamaged):
            store.put(KEY, io.BytesIO(CONTENT), len(CONTENT), "0" * 64)
        assert not store.exists(KEY)
        put(store, CONTENT)

    def test_a_missing_object_is_a_typed_error(self, store: ObjectStore) -> None:
        assert not store.exists(KEY)
        for ask in (
            lambda: store.size(KEY),
            lambda: store.read(KEY, 0, 1),
            lambda: store.read(KEY, 0, 0),
            lambda: list(store.stream(KEY, 0, 1)),
        ):
            with pytest.raises(ObjectMissing):
                ask()

    def test_a_deleted_object_is_gone_and_deleting_again_is_success(self, store: ObjectStore) -> None:
        put(store, CONTENT)
        store.delete(KEY)
        store.delete(KEY)
        assert not store.exists(KEY)
        assert list(store.list("")) == []
        put(store, b"other content may come later")

    def test_keys_are_listed_by_prefix_in_order(self, store: ObjectStore) -> None:
        keys = [
            "packs/b/11/x.pack",
            "packs/a/22/y.pack",
            "packs/a/21/z.pack",
            "blobs/a",
            "packs/ab/00/w.pack",
        ]
        for key in keys:
            put(store, key.encode(), key)
        assert list(store.list("packs/a/")) == ["packs/a/21/z.pack", "packs/a/22/y.pack"]
        assert list(store.list("packs/a")) == ["packs/a/21/z.pack", "packs/a/22/y.pack", "packs/ab/00/w.pack"]
        assert list(store.list("")) == sorted(keys)
        assert list(store.list("nothing/")) == []
        assert list(store.list("../")) == []

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/x",
            "x/",
            "a//b",
            "../x",
            "a/../../x",
            "a/.",
            ".hidden",
            "a\\b",
            "a\0b",
            "ä",
            "a b",
            "x" * 600,
        ],
    )
    def test_a_key_that_could_leave_the_store_is_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ValueError, match="no object key"):
            put(store, CONTENT, key)
        with pytest.raises(ValueError, match="no object key"):
            store.read(key, 0, 1)

    def test_writers_of_one_key_leave_one_whole_object(self, store: ObjectStore) -> None:
        contents = [bytes([number]) * 50_000 for number in range(4)]
        start = threading.Barrier(len(contents))

        def write(content: bytes) -> bool:
            start.wait(10)
            try:
                put(store, content)
            except ObjectConflict:
                return False
            return True

        with ThreadPoolExecutor(len(contents)) as pool:
            wins = list(pool.map(write, contents))
        assert sum(wins) == 1
        assert store.read(KEY, 0, 50_000) == contents[wins.index(True)]
