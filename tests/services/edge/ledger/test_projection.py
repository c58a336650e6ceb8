"""The ledger becomes equal to the files, whatever was missed, and its absence is nobody's problem."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.edge.forwarder.outbox import Outbox
from services.edge.ledger.projection import Projection
from services.edge.metrics import EdgeMetrics
from services.edge.ports import Ledger, LedgerDown, LedgerEntry
from services.edge.receipt_store import ReceiptStore
from services.packs.pack import footer_of
from tests.services.edge.branch import HandClock, ReceiptOffice, seal
from tests.services.edge.ledger.contract_ledger import LedgerContract


class MemoryLedger:
    """`Ledger` in memory; `down` makes it fail."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self.down = False

    def known(self) -> dict[str, bool]:
        self._check()
        return {key: entry.commitment is not None for key, entry in self.entries.items()}

    def record(self, entries: Iterable[LedgerEntry]) -> None:
        self._check()
        self.entries.update({entry.footer.pack_id: entry for entry in entries})

    def _check(self) -> None:
        if self.down:
            raise LedgerDown("stopped")


class TestMemoryLedger(LedgerContract):
    """`MemoryLedger` under the contract."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger()


class Branch:
    def __init__(self, root: Path, office: ReceiptOffice) -> None:
        self.root, self.office = root, office
        self.ledger = MemoryLedger()
        self.receipts = ReceiptStore(root / "receipts")
        outbox = Outbox(root, HandClock())
        self.projection = Projection(self.ledger, outbox, self.receipts, EdgeMetrics(CollectorRegistry()))

    def pack(self, *, committed: bool = False) -> str:
        path = seal(self.root)
        if committed:
            self.commit(path)
        return path.stem

    def commit(self, path: Path) -> None:
        self.receipts.save(path.stem, self.office.issue(footer_of(path)))


@pytest.fixture
def branch(tmp_path: Path, office: ReceiptOffice) -> Branch:
    return Branch(tmp_path, office)


def test_the_first_step_enters_everything_that_lies_on_disk(branch: Branch) -> None:
    waiting, done = branch.pack(), branch.pack(committed=True)
    branch.projection.step()
    assert branch.ledger.known() == {waiting: False, done: True}
    commitment = branch.ledger.entries[done].commitment
    assert commitment is not None
    assert commitment.epoch == 1
    assert branch.ledger.entries[done].forwarded_at is not None


def test_a_change_is_entered_at_the_next_step(branch: Branch) -> None:
    branch.projection.step()
    pack = branch.pack()
    branch.projection.changed(pack)
    branch.projection.step()
    assert branch.ledger.known() == {pack: False}


def test_what_was_missed_while_the_database_was_away_is_entered_when_it_is_back(branch: Branch) -> None:
    early = branch.pack()
    branch.projection.step()
    branch.ledger.down = True
    late = branch.pack(committed=True)
    branch.projection.changed(late)
    with pytest.raises(LedgerDown):
        branch.projection.step()
    branch.ledger.down = False
    branch.projection._complete = False  # what `run` does after LedgerDown
    branch.projection.step()
    assert branch.ledger.known() == {early: False, late: True}


def test_a_rebuild_writes_only_what_differs(branch: Branch) -> None:
    branch.pack(committed=True)
    branch.pack()
    assert branch.projection.rebuild() == 2
    assert branch.projection.rebuild() == 0


def test_a_damaged_pack_does_not_stop_the_others(branch: Branch) -> None:
    pack = branch.pack()
    bad = branch.root / "packs" / "yanan" / "ab" / ("ab" * 32 + ".pack")
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(b"damaged")
    branch.projection.step()
    assert branch.ledger.known() == {pack: False}


@pytest.mark.parametrize("damage", [b"", b"no receipt", b"\xff\xfe", b"a.e30.b\n"])
def test_damaged_receipts_keep_no_other_row_from_being_written(branch: Branch, damage: bytes) -> None:
    pack, other = branch.pack(committed=True), branch.pack(committed=True)
    branch.receipts.path(pack).write_bytes(damage)
    branch.projection.step()
    assert branch.ledger.known() == {pack: False, other: True}


def test_a_change_of_a_pack_that_is_gone_is_no_error(branch: Branch) -> None:
    branch.projection.step()
    branch.projection.changed("cd" * 32)
    branch.projection.step()
    assert branch.ledger.known() == {}
