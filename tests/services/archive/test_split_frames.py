"""Frames that need work are split once for many requests, within bounds, and hold nobody else up."""

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.dicomweb import split_frames
from services.archive.dicomweb.split_frames import SplitFrames
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SOP Instance UIDs in the order in which instances were worked on."""
    worked: list[str] = []
    whole = split_frames.worked_frames

    def counted(stored, load):  # type: ignore[no-untyped-def]
        worked.append(stored.sop_instance_uid)
        return whole(stored, load)

    monkeypatch.setattr(split_frames, "worked_frames", counted)
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
    for uid, count in (("1.1", 1), ("1.2", 1), ("1.3", 1), ("1.4", 9)):
        harness.keep(synthetic(uid, frames=count, transfer_syntax=DeflatedExplicitVRLittleEndian))
    harness.archive.retrieval._split = SplitFrames(kept_bytes=2 * 32)
    for uid in ("1.1", "1.2", "1.1", "1.3", "1.1", "1.2", "1.4", "1.4"):
        frame(harness, uid, 1)
    assert splits == ["1.1", "1.2", "1.3", "1.2", "1.4", "1.4"]
