"""Frames that need work are split once for many requests, within bounds, and hold nobody else up."""

import threading
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.rendering.split_frames import SplitFrames
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]


@pytest.fixture
def splits(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SOP Instance UIDs in the order in which instances were worked on."""
    worked: list[str] = []
    whole = harness.archive.rendering._of_whole

    def counted(stored: Any, operation: str, head: dict[str, Any]) -> list[bytearray]:
        worked.append(stored.sop_instance_uid)
        return whole(stored, operation, head)

    monkeypatch.setattr(harness.archive.rendering, "_of_whole", counted)
    return worked


def frame(harness: Harness, uid: str, number: int) -> bytes:
    path = f"/studies/1.2.3/series/1.2.3.1/instances/{uid}/frames/{number}"
    answer = harness.get(path, "application/octet-stream")
    assert answer.status_code == 200
    return bytes(answer.content)


def test_an_instance_is_split_once_however_many_of_its_frames_are_asked_for(
    harness: Harness, splits: list[str]
) -> None:
    harness.keep(synthetic("1.1", frames=3, transfer_syntax=DeflatedExplicitVRLittleEndian))
    assert [frame(harness, "1.1", number) for number in (1, 2, 3)] == [bytes(range(16)) * 2] * 3
    assert splits == ["1.1"]


def test_what_was_asked_for_longest_ago_goes_first_and_what_is_too_large_is_not_kept(
    harness: Harness, splits: list[str]
) -> None:
    for uid, count in (("1.1", 1), ("1.2", 1), ("1.3", 1), ("1.4", 90)):
        harness.keep(synthetic(uid, frames=count, transfer_syntax=DeflatedExplicitVRLittleEndian))
    [one] = harness.index.instances(None, "1.2.3", None, "1.1")
    size = sum(map(len, harness.archive.rendering.split(one)))
    splits.clear()
    harness.archive.rendering._split = SplitFrames(kept_bytes=2 * size + 20)
    for uid in ("1.1", "1.2", "1.1", "1.3", "1.1", "1.2", "1.4", "1.4"):
        frame(harness, uid, 1)
    assert splits == ["1.1", "1.2", "1.3", "1.2", "1.4", "1.4"]


def test_whoever_asks_while_it_is_being_split_gets_what_the_first_one_gets(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    [one] = harness.index.instances(None, "1.2.3")
    kept, begun, go_on, calls = SplitFrames(), threading.Event(), threading.Event(), []

    def split() -> list[bytes]:
        calls.append(1)
        begun.set()
        assert go_on.wait(30)
        return [b"frame"]

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(kept.of(one, split))) for _ in range(3)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert found == [[b"frame"]] * 3
    assert calls == [1]
