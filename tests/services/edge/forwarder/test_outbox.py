"""The outbox can be rebuilt from packs and receipts; what is refused is kept."""

from __future__ import annotations

import json
from pathlib import Path

from services.edge.errors import PackRefused
from services.edge.forwarder.outbox import Outbox
from tests.services.edge.branch import HandClock, offer, seal


def outbox(root: Path) -> Outbox:
    return Outbox(root, HandClock())


def test_packs_are_found_with_size_and_age_and_other_files_are_left_alone(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    pack = seal(tmp_path)
    offer(tmp_path, pack)
    (tmp_path / "outbox" / "notes.txt").write_text("mine")
    (tmp_path / "outbox" / ("g" * 64 + ".pack")).write_text("not an id")
    [waiting] = box.waiting()
    assert (waiting.pack_id, waiting.size) == (pack.stem, pack.stat().st_size)


def test_a_link_lost_in_a_crash_is_made_again(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    lost, linked, done, aside = (seal(tmp_path) for _ in range(4))
    offer(tmp_path, linked)
    offer(tmp_path, aside)
    box.set_aside(aside.stem, PackRefused("bad", reason="http_400"))
    assert box.rebuild(lambda pack_id: pack_id == done.stem) == 1
    assert {entry.pack_id for entry in box.waiting()} == {lost.stem, linked.stem}
    assert box.rebuild(lambda pack_id: pack_id == done.stem) == 0


def test_done_takes_away_the_link_and_never_the_pack(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    pack = seal(tmp_path)
    offer(tmp_path, pack)
    box.done(pack.stem)
    box.done(pack.stem)
    assert list(box.waiting()) == []
    assert pack.exists()


def test_a_refused_pack_lies_in_quarantine_with_its_reason(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    pack = seal(tmp_path)
    content = pack.read_bytes()
    offer(tmp_path, pack)
    box.set_aside(
        pack.stem, PackRefused("the centre answered 400", reason="http_400", problem={"status": 400})
    )
    assert list(box.waiting()) == []
    assert (box.quarantine / pack.name).read_bytes() == content
    reason = json.loads((box.quarantine / f"{pack.stem}.json").read_text())
    assert (reason["reason"], reason["problem"]) == ("http_400", {"status": 400})
    assert box.quarantined() == 1


def test_a_pack_that_support_put_back_and_the_centre_took_leaves_quarantine(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    pack = seal(tmp_path)
    offer(tmp_path, pack)
    box.set_aside(pack.stem, PackRefused("bad", reason="http_400"))
    offer(tmp_path, pack)
    box.done(pack.stem)
    assert box.quarantined() == 0
    assert pack.exists()


def test_a_pack_refused_twice_is_kept_once(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    pack = seal(tmp_path)
    for _ in range(2):
        offer(tmp_path, pack)
        box.set_aside(pack.stem, PackRefused("bad", reason="http_400"))
    assert list(box.waiting()) == []
    assert box.quarantined() == 1
