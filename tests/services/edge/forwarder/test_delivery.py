"""Receipts verified, then durable, only then the link removed; the same from any point after a crash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.edge.adapters.receipt_judge import PinnedReceiptJudge
from services.edge.errors import LineDown, PackRefused, ReceiptRejected
from services.edge.forwarder.delivery import Delivery
from services.edge.forwarder.outbox import Outbox
from services.edge.metrics import EdgeMetrics
from services.edge.receipt_store import ReceiptStore
from tests.services.edge.branch import HandClock, MemoryCentre, ReceiptOffice, offer, seal


class Branch:
    """One branch with a centre in memory."""

    def __init__(self, root: Path, office: ReceiptOffice, clock: HandClock) -> None:
        self.root = root
        self.registry = CollectorRegistry()
        self.outbox = Outbox(root, clock)
        self.receipts = ReceiptStore(root / "receipts")
        self.centre = MemoryCentre(office)
        judge = PinnedReceiptJudge(
            office.root_file,
            office.certificates,
            region="local",
            clock=clock,
            known_epoch=lambda: self.receipts.epoch,
        )
        metrics = EdgeMetrics(self.registry)
        self.delivery = Delivery(self.outbox, self.receipts, self.centre, judge, metrics, clock)

    def pack(self) -> Path:
        path = seal(self.root)
        return offer(self.root, path)

    def deliver(self, link: Path, *, may_have_gone: bool = False) -> object:
        return self.delivery.deliver(link.stem, link, may_have_gone=may_have_gone)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pacs_edge_{name}", labels)


@pytest.fixture
def branch(tmp_path: Path, office: ReceiptOffice, clock: HandClock) -> Branch:
    return Branch(tmp_path, office, clock)


def test_a_delivered_pack_has_receipts_and_no_link(branch: Branch) -> None:
    link = branch.pack()
    assert branch.deliver(link)
    assert branch.receipts.has(link.stem)
    assert not link.exists()
    assert branch.receipts.epoch == 1
    assert branch.metric("forwarded_packs_total") == 1
    assert branch.metric("receipts_verified_total") == 2


def test_receipts_are_durable_before_the_link_goes(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    link = branch.pack()

    def dies(_: str) -> None:
        assert branch.receipts.has(link.stem)
        raise KeyboardInterrupt

    monkeypatch.setattr(branch.outbox, "done", dies)
    with pytest.raises(KeyboardInterrupt):
        branch.deliver(link)
    assert link.exists()


def test_a_pack_whose_receipts_lie_here_is_not_sent_again(branch: Branch) -> None:
    link = branch.pack()
    branch.receipts.save(link.stem, branch.centre.office.issue(branch.delivery._read(link.stem, link)))
    branch.deliver(link)
    assert branch.centre.puts == []
    assert not link.exists()


def test_stored_receipts_of_an_older_epoch_are_proven_again(branch: Branch) -> None:
    link = branch.pack()
    branch.receipts.save(link.stem, branch.centre.office.issue(branch.delivery._read(link.stem, link)))
    branch.receipts.raise_epoch(2)
    branch.centre.office.epoch = 2
    branch.deliver(link)
    assert branch.centre.puts == [link.stem]


def test_a_pack_that_may_have_gone_is_asked_for_before_it_is_sent(branch: Branch) -> None:
    link = branch.pack()
    branch.centre.put(link.stem, link)  # its answer was lost
    branch.centre.puts.clear()
    branch.deliver(link, may_have_gone=True)
    assert (branch.centre.asked, branch.centre.puts) == ([link.stem], [])
    assert branch.receipts.has(link.stem)


def test_a_pack_that_did_not_go_after_all_is_sent(branch: Branch) -> None:
    link = branch.pack()
    branch.deliver(link, may_have_gone=True)
    assert branch.centre.puts == [link.stem]


def test_a_line_that_breaks_leaves_everything_as_it_was(branch: Branch) -> None:
    link = branch.pack()

    def cut(_: str) -> None:
        raise LineDown("cut", reason="network")

    for moment in ("before", "after"):
        setattr(branch.centre, moment, cut)
        with pytest.raises(LineDown):
            branch.deliver(link)
        setattr(branch.centre, moment, lambda _: None)
    assert link.exists()
    assert not branch.receipts.has(link.stem)


@pytest.mark.parametrize("field", ["digest", "pack_id", "site"])
def test_a_forged_answer_deletes_nothing(branch: Branch, field: str) -> None:
    link = branch.pack()
    wrong = {"digest": "0" * 64, "pack_id": "0" * 64, "site": "x"}[field]
    branch.centre.office.alter = lambda receipt: replace(receipt, **{field: wrong})  # type: ignore[arg-type]
    with pytest.raises(ReceiptRejected) as rejected:
        branch.deliver(link)
    assert link.exists()
    assert not branch.receipts.has(link.stem)
    assert branch.metric("receipts_rejected_total", reason=rejected.value.reason) == 1


def test_a_refused_pack_is_set_aside_and_counted(branch: Branch) -> None:
    link = branch.pack()

    def refuse(_: str) -> None:
        raise PackRefused("foreign", reason="http_403", problem={"status": 403})

    branch.centre.before = refuse
    assert branch.deliver(link) is None
    assert branch.outbox.is_quarantined(link.stem)
    assert branch.metric("refused_packs_total", reason="http_403") == 1


@pytest.mark.parametrize("damage", [b"", b"not a pack", None])
def test_a_file_that_is_no_pack_is_set_aside_and_not_sent(branch: Branch, damage: bytes | None) -> None:
    link = branch.pack()
    content = bytearray(link.read_bytes())
    content[-60] ^= 1
    (link.parent / "other").write_bytes(bytes(content) if damage is None else damage)
    (link.parent / "other").replace(link)
    assert branch.deliver(link) is None
    assert branch.centre.puts == []
    assert branch.outbox.is_quarantined(link.stem)


def test_a_pack_under_another_name_is_not_sent(branch: Branch) -> None:
    link = branch.pack()
    renamed = link.with_name("ab" * 32 + ".pack")
    link.rename(renamed)
    assert branch.deliver(renamed) is None
    assert branch.centre.puts == []


def test_a_link_that_vanished_is_no_error(branch: Branch) -> None:
    link = branch.pack()
    link.unlink()
    assert branch.deliver(link) is None
