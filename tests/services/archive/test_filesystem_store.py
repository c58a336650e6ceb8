"""The file system object store keeps the contract, and what only a file system can break."""

from __future__ import annotations

import errno
import io
import os
from hashlib import sha256
from pathlib import Path

import pytest

from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.ports import StoreOutOfRoom, StoreUnavailable
from tests.services.archive.contract_object_store import CONTENT, KEY, ObjectStoreContract, put


class TestFilesystemStore(ObjectStoreContract):
    """See `ObjectStoreContract`."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FilesystemStore:
        return FilesystemStore(tmp_path / "store")

    def test_a_finished_file_on_the_same_file_system_is_linked_not_copied(
        self, store: FilesystemStore, tmp_path: Path
    ) -> None:
        source = tmp_path / "pack"
        source.write_bytes(CONTENT)
        store.put(KEY, source, len(CONTENT), sha256(CONTENT).hexdigest())
        assert (tmp_path / "store" / KEY).stat().st_ino == source.stat().st_ino

    @pytest.mark.parametrize(
        ("code", "expected"), [(errno.ENOSPC, StoreOutOfRoom), (errno.EIO, StoreUnavailable)]
    )
    def test_a_failing_disk_is_a_typed_error_and_leaves_nothing_behind(
        self,
        store: FilesystemStore,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        code: int,
        expected: type[Exception],
    ) -> None:
        def fail(_: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(expected):
            put(store, CONTENT)
        assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []

    def test_what_an_interrupted_put_left_is_neither_listed_nor_kept(
        self, store: FilesystemStore, tmp_path: Path
    ) -> None:
        put(store, CONTENT)
        (tmp_path / "store" / (KEY + ".0123.part")).write_bytes(b"half")
        assert list(store.list("")) == [KEY]
        other = tmp_path / "store" / "spool" / "received.part"
        other.parent.mkdir()
        other.write_bytes(b"not the store's")
        assert store.remove_unfinished(KEY.partition("/")[0]) == 1
        assert store.remove_unfinished(KEY.partition("/")[0]) == 0
        assert other.exists()

    def test_unfinished_is_no_name_for_an_object(self, store: FilesystemStore) -> None:
        with pytest.raises(ValueError, match="no object key"):
            store.put("a/b.part", io.BytesIO(b""), 0, sha256().hexdigest())

    def test_the_object_is_durable_before_its_name_is(
        self, store: FilesystemStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        real_fsync, real_link = os.fsync, Path.hardlink_to

        def fsync(descriptor: int) -> None:
            steps.append("sync " + ("directory" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file"))
            real_fsync(descriptor)

        def link(path: Path, target: Path) -> None:
            steps.append("name")
            real_link(path, target)

        put(store, b"makes the directories", "packs/yanan/ab/first.pack")
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "hardlink_to", link)
        put(store, CONTENT)
        assert steps == ["sync file", "name", "sync directory"]
