"""What every `Ledger` promises; run against each adapter."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from services.edge.ports import Commitment, Ledger, LedgerEntry
from services.packs.pack import footer_of
from tests.services.edge.branch import seal

LATER = datetime(2030, 1, 1, tzinfo=UTC)


class LedgerContract:
    """A subclass gives the fixture `ledger`."""

    def test_a_new_ledger_knows_nothing(self, ledger: Ledger) -> None:
        assert ledger.known() == {}

    def test_a_pack_is_known_and_later_committed(self, ledger: Ledger, tmp_path: Path) -> None:
        footer = footer_of(seal(tmp_path))
        ledger.record([LedgerEntry(footer, None, None)])
        assert ledger.known() == {footer.pack_id: False}
        ledger.record([LedgerEntry(footer, LATER, Commitment(footer.pack_id, 1, LATER))])
        assert ledger.known() == {footer.pack_id: True}

    def test_the_same_entries_again_change_nothing(self, ledger: Ledger, tmp_path: Path) -> None:
        entries = [LedgerEntry(footer_of(seal(tmp_path)), None, None) for _ in range(3)]
        ledger.record(entries)
        known = ledger.known()
        ledger.record(entries)
        assert ledger.known() == known
        assert len(known) == 3

    def test_nothing_to_record_is_no_error(self, ledger: Ledger) -> None:
        ledger.record([])
        assert ledger.known() == {}
