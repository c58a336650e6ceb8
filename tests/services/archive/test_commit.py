"""Rules of committing: object, then link, then rows; and the way back from packs to an index."""

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.commit import ArchiveSink
from services.archive.errors import IndexUnavailable, StoreAway
from services.archive.index.query import Level, Query
from services.archive.index.rebuild import enter_missing
from services.archive.metrics import ArchiveMetrics
from services.archive.outbox import Outbox
from services.archive.ports import StoreUnavailable
from services.packs.pack import Footer
from tests.services.archive.samples import synthetic
from tests.services.archive.test_ingest import pack


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)


class Branch:
    """A branch's sink on a file system, with its outbox."""

    def __init__(self, root: Path, index: MemoryIndex | None = None) -> None:
        self.root, self.index = root, index or MemoryIndex()
        self.store = FilesystemStore(root)
        self.outbox = Outbox(root / "outbox", root, root / "receipts", root / "quarantine")
        self.metrics = ArchiveMetrics(CollectorRegistry())
        self.sink = ArchiveSink(self.store, self.index, self.metrics, outbox=self.outbox)

    def commit(self, *files: bytes) -> Footer:
        footer, body = pack(*files)
        # A sink may link the file: it is written once and removed, as the sealer does.
        path = self.root / "sealed.pack"
        path.write_bytes(body)
        try:
            self.sink.store(path, footer)
            self.sink.commit(path, footer)
        finally:
            path.unlink()
        return footer

    def links(self) -> list[str]:
        return sorted(path.name for path in (self.root / "outbox").iterdir())


class Away:
    """Whatever is asked of it, it raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any) -> None:
            raise self._error

        return fail


def test_a_committed_pack_is_an_object_rows_and_a_link_to_the_same_bytes(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    footer = branch.commit(synthetic("1.1"))
    assert branch.store.exists(footer.key)
    assert len(branch.index.find(Query(Level.INSTANCE, None))) == 1
    link = tmp_path / "outbox" / f"{footer.pack_id}.pack"
    assert link.samefile(tmp_path / footer.key)


def test_without_the_index_a_pack_is_stored_and_offered_to_the_forwarder_but_not_committed(
    tmp_path: Path,
) -> None:
    branch = Branch(tmp_path)
    away: Any = Away(IndexUnavailable("away"))
    branch.sink = ArchiveSink(branch.store, away, branch.metrics, outbox=branch.outbox)
    with pytest.raises(IndexUnavailable):
        branch.commit(synthetic("1.1"))
    [key] = branch.store.list("packs/")
    assert branch.links() == [Path(key).name]


def test_without_the_store_there_is_neither_link_nor_row(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    away: Any = Away(StoreUnavailable("away"))
    branch.sink = ArchiveSink(away, branch.index, branch.metrics, outbox=branch.outbox)
    with pytest.raises(StoreAway):
        branch.commit(synthetic("1.1"))
    assert branch.index.find(Query(Level.STUDY, None)) == []
    assert branch.links() == []


def test_a_pack_whose_receipts_came_before_its_rows_is_not_offered_again(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    footer = branch.commit(synthetic("1.1"))
    (tmp_path / "outbox" / f"{footer.pack_id}.pack").unlink()
    receipts = tmp_path / "receipts" / footer.pack_id[:2] / f"{footer.pack_id}.jws"
    receipts.parent.mkdir(parents=True)
    receipts.write_text("receipt\n")
    again = Branch(tmp_path)
    assert again.commit(synthetic("1.1")).pack_id == footer.pack_id
    assert again.links() == []
    assert len(again.index.find(Query(Level.INSTANCE, None))) == 1


def test_committing_again_after_a_crash_at_any_step_completes(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    footer = branch.commit(synthetic("1.1"))
    for step in ("link", "rows and link"):
        (tmp_path / "outbox" / f"{footer.pack_id}.pack").unlink()
        if step == "rows and link":
            branch = Branch(tmp_path)
        branch.commit(synthetic("1.1"))
        assert branch.links() == [f"{footer.pack_id}.pack"]
        assert len(branch.index.find(Query(Level.INSTANCE, None))) == 1


def test_the_index_of_packs_alone_answers_as_the_first_one_did(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    branch.commit(synthetic("1.1"), synthetic("1.2"))
    branch.commit(synthetic("9.1", study="9", series="9.1"))
    rebuilt = Branch(tmp_path)
    result = enter_missing(rebuilt.store, rebuilt.index, rebuilt.sink)
    assert (result.packs, result.entered, result.damaged) == (2, 2, 0)
    for level in Level:
        assert rebuilt.index.find(Query(level, None)) == branch.index.find(Query(level, None))
    again = enter_missing(rebuilt.store, rebuilt.index, rebuilt.sink)
    assert (again.packs, again.entered) == (2, 0)


def test_after_a_rebuild_the_version_that_was_sealed_first_is_still_the_first(tmp_path: Path) -> None:
    store, metrics = MemoryStore(), ArchiveMetrics(CollectorRegistry())
    sealed = {}
    for number in range(6):
        footer, body = pack(synthetic("1.1", pixels=bytes([number]) * 32))
        sealed[footer.pack_id] = footer
        path = tmp_path / "p"
        path.write_bytes(body)
        ArchiveSink(store, MemoryIndex(), metrics).store(path, footer)
    index = MemoryIndex()
    enter_missing(store, index, ArchiveSink(store, index, metrics))
    first = min(sealed.values(), key=lambda footer: (footer.sealed_at, footer.key))
    assert index.instances(None, "1.2.3")[0].digest == first.instances[0].digest
    assert len(index.conflicts(None, "1.2.3")) == 5


def test_a_damaged_object_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    footer = branch.commit(synthetic("1.1"))
    rotten = tmp_path / "packs" / "yanan" / "00" / f"{'0' * 64}.pack"
    rotten.parent.mkdir(parents=True)
    rotten.write_bytes(b"not a pack at all, and long enough to be read as one" * 4)
    misplaced = tmp_path / "packs" / "yanan" / "11" / f"{'1' * 64}.pack"
    misplaced.parent.mkdir(parents=True)
    misplaced.write_bytes((tmp_path / footer.key).read_bytes())
    rebuilt = Branch(tmp_path)
    result = enter_missing(rebuilt.store, rebuilt.index, rebuilt.sink)
    assert (result.packs, result.entered, result.damaged) == (3, 1, 2)


def test_a_pack_that_the_index_cannot_take_keeps_no_other_pack_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = Branch(tmp_path)
    odd, good = branch.commit(synthetic("1.1")), branch.commit(synthetic("9.1", study="9", series="9.1"))
    rebuilt = Branch(tmp_path)
    commit = rebuilt.index.commit

    def choosy(content: Any, receipts: Any) -> Any:
        if content.pack.pack_id == odd.pack_id:
            raise ValueError("a value that no column takes")
        return commit(content, receipts)

    monkeypatch.setattr(rebuilt.index, "commit", choosy)
    result = enter_missing(rebuilt.store, rebuilt.index, rebuilt.sink)
    assert (result.packs, result.entered, result.damaged) == (2, 1, 1)
    assert [match.study_uid for match in rebuilt.index.find(Query(Level.STUDY, None))] == [good.study_uid]


def test_the_outbox_is_rebuilt_from_packs_receipts_and_quarantine(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    waiting, received, refused = (branch.commit(synthetic(uid)) for uid in ("1.1", "1.2", "1.3"))
    for link in (tmp_path / "outbox").iterdir():
        link.unlink()
    receipts = tmp_path / "receipts" / received.pack_id[:2] / f"{received.pack_id}.jws"
    receipts.parent.mkdir(parents=True)
    receipts.write_text("receipt\n")
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / f"{refused.pack_id}.pack").write_bytes(b"")
    assert branch.outbox.rebuild() == 1
    assert branch.links() == [f"{waiting.pack_id}.pack"]
    assert branch.outbox.rebuild() == 0


def test_an_instance_whose_header_cannot_be_decoded_is_indexed_by_its_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RecursionError

    monkeypatch.setattr("services.archive.index.header.read_data_set", fail)
    branch = Branch(tmp_path)
    branch.commit(synthetic("1.1"))
    [match] = branch.index.find(Query(Level.INSTANCE, None))
    assert (match.study_uid, match.series_uid, match.sop_instance_uid) == ("1.2.3", "1.2.3.1", "1.1")
    assert branch.metrics.registry.get_sample_value("pacs_archive_unreadable_headers_total") == 1
