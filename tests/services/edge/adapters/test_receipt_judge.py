"""Only receipts that prove every instance of the pack are believed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.adapters.receipt_judge import PinnedReceiptJudge
from services.edge.errors import ReceiptRejected
from services.packs.pack import Footer, footer_of
from tests.services.edge.branch import HandClock, ReceiptOffice, seal


@pytest.fixture
def footer(tmp_path: Path) -> Footer:
    return footer_of(seal(tmp_path))


@pytest.fixture
def judge(office: ReceiptOffice, clock: HandClock) -> PinnedReceiptJudge:
    return judge_of(office, clock)


def judge_of(
    office: ReceiptOffice, clock: HandClock, epoch: int = 0, root: Path | None = None
) -> PinnedReceiptJudge:
    return PinnedReceiptJudge(
        root or office.root_file, office.certificates, region="local", clock=clock, known_epoch=lambda: epoch
    )


def test_complete_receipts_prove_the_pack(
    judge: PinnedReceiptJudge, office: ReceiptOffice, footer: Footer
) -> None:
    commitment = judge.verify(footer, office.issue(footer))
    assert (commitment.pack_id, commitment.epoch) == (footer.pack_id, 1)


@pytest.mark.parametrize(
    "case",
    [
        ("region", "elsewhere", "invalid"),
        ("institution", "other", "institution"),
        ("site", "other", "site"),
        ("pack_id", "b" * 64, "pack_id"),
        ("digest", "c" * 64, "instances"),
        ("sop_instance_uid", "1.2.3", "instances"),
    ],
)
def test_a_signed_receipt_of_something_else_is_rejected(
    judge: PinnedReceiptJudge, office: ReceiptOffice, footer: Footer, case: tuple[str, str, str]
) -> None:
    field, value, reason = case
    change: dict[str, Any] = {field: value}
    office.alter = lambda receipt: replace(receipt, **change)
    with pytest.raises(ReceiptRejected) as refusal:
        judge.verify(footer, office.issue(footer))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda receipts: [], "missing"),
        (lambda receipts: receipts[:1], "instances"),
        (lambda receipts: [receipts[0], receipts[0]], "instances"),
        (lambda receipts: [receipts[0], receipts[1][:-4] + "AAAA"], "invalid"),
        (lambda receipts: ["not a receipt", receipts[1]], "invalid"),
        (lambda receipts: ["", ""], "invalid"),
    ],
)
def test_missing_repeated_or_damaged_receipts_are_rejected(
    judge: PinnedReceiptJudge,
    office: ReceiptOffice,
    footer: Footer,
    spoil: Callable[[list[str]], list[str]],
    reason: str,
) -> None:
    with pytest.raises(ReceiptRejected) as refusal:
        judge.verify(footer, spoil(office.issue(footer)))
    assert refusal.value.reason == reason


def test_a_receipt_of_an_earlier_epoch_is_stale(
    office: ReceiptOffice, clock: HandClock, footer: Footer
) -> None:
    with pytest.raises(ReceiptRejected) as refusal:
        judge_of(office, clock, epoch=2).verify(footer, office.issue(footer))
    assert refusal.value.reason == "invalid"


def test_receipts_of_two_epochs_do_not_go_together(
    judge: PinnedReceiptJudge, office: ReceiptOffice, footer: Footer
) -> None:
    first = office.issue(footer)[0]
    office.epoch = 2
    with pytest.raises(ReceiptRejected):
        judge.verify(footer, [first, office.issue(footer)[1]])


def test_a_receipt_key_of_another_root_is_not_believed(
    office: ReceiptOffice, clock: HandClock, footer: Footer, tmp_path: Path
) -> None:
    other = ReceiptOffice(tmp_path / "other")
    with pytest.raises(ReceiptRejected) as refusal:
        judge_of(other, clock, root=office.root_file).verify(footer, other.issue(footer))
    assert refusal.value.reason == "invalid"


def test_a_receipt_key_that_appears_while_running_is_read(
    office: ReceiptOffice, clock: HandClock, footer: Footer, tmp_path: Path
) -> None:
    certificates = tmp_path / "receipts.crt"
    judge = PinnedReceiptJudge(
        office.root_file, certificates, region="local", clock=clock, known_epoch=lambda: 0
    )
    with pytest.raises(ReceiptRejected):
        judge.verify(footer, office.issue(footer))
    shutil.copy(office.certificates, certificates)
    assert judge.verify(footer, office.issue(footer)).epoch == 1


@given(text=st.text(max_size=200))
def test_no_text_whatever_passes_for_a_receipt(
    text: str, office_directory: Path, tmp_path_factory: Any
) -> None:
    office = ReceiptOffice(office_directory)
    footer = _FOOTERS.setdefault("one", footer_of(seal(tmp_path_factory.mktemp("pack"))))
    with pytest.raises(ReceiptRejected):
        judge_of(office, HandClock()).verify(footer, [text, text])


_FOOTERS: dict[str, Footer] = {}
