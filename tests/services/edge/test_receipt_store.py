"""Receipts lie whole under their name or not at all; the epoch never goes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.edge.receipt_store import ReceiptStore

PACK = "ab" * 32


def test_receipts_are_one_line_each_under_the_name_the_contract_gives(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    store.save(PACK, ["one", "two"])
    assert (tmp_path / "ab" / f"{PACK}.jws").read_text() == "one\ntwo\n"
    assert store.has(PACK)
    assert store.load(PACK) == ["one", "two"]
    assert list(store.pack_ids()) == [PACK]


def test_a_half_written_file_is_not_a_receipt(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / f"{PACK}.jws.part").write_text("on")
    assert not store.has(PACK)
    assert list(store.pack_ids()) == []
    with pytest.raises(FileNotFoundError):
        store.load(PACK)


def test_the_epoch_survives_a_restart_and_never_goes_back(tmp_path: Path) -> None:
    store = ReceiptStore(tmp_path)
    assert store.epoch == 0
    store.raise_epoch(3)
    store.raise_epoch(2)
    assert ReceiptStore(tmp_path).epoch == 3
