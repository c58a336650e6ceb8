from __future__ import annotations

from pathlib import Path

import pytest

from bench.clients import query
from bench.errors import CannotError, ClientError
from bench.peers import Peers
from bench.subjects.subject import DimseAddress

TO = DimseAddress(1, "PACS")


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    """A root whose programs are shell scripts, and whose loader is a shell that leaves out the libraries."""
    (tmp_path / "lib64").mkdir()
    (tmp_path / "usr/bin").mkdir(parents=True)
    loader = tmp_path / "lib64/ld-linux-x86-64.so.2"
    loader.write_text('#!/bin/sh\nshift 2\nexec sh "$@"\n')
    loader.chmod(0o755)
    return Peers(tmp_path, "none")


def says(peers: Peers, program: str, text: str, status: int = 0, then: str = "") -> None:
    (peers.root / "usr/bin" / program).write_text(f"cat <<'E'\n{text}\nE\n{then}\nexit {status}\n")


PENDING = (
    "I: Find Response: 1 (Pending)\nI: Find Response: 2 (Pending)\nI: Received Final Find Response (Success)"
)


def test_matches_are_counted_over_all_repeats(peers: Peers) -> None:
    says(peers, "findscu", PENDING)
    assert query.find(peers, TO, ["PatientID=1"], repeat=1, expected=2) > 0
    with pytest.raises(ClientError, match="2 matches came"):
        query.find(peers, TO, ["PatientID=1"], repeat=2, expected=2)


@pytest.mark.parametrize(
    "text",
    ["E: No Acceptable Presentation Contexts", "F: No adequate Presentation Contexts for sending C-FIND"],
)
def test_a_verb_that_is_not_offered_is_no_failure(peers: Peers, text: str) -> None:
    says(peers, "findscu", text, 1)
    with pytest.raises(CannotError, match="offers no C-FIND"):
        query.find(peers, TO, [], repeat=1, expected=1)


def test_a_program_that_fails_tells_why(peers: Peers, tmp_path: Path) -> None:
    says(peers, "getscu", "I: fine\nF: Association Rejected: Called AE Title Not Recognized", 70)
    with pytest.raises(ClientError, match=r"ended with 70.*Not Recognized"):
        query.get(peers, TO, "1.2", tmp_path / "into", expected=1)


def test_a_study_that_comes_in_part_is_no_measurement(peers: Peers, tmp_path: Path) -> None:
    says(peers, "movescu", "I: done", then=f"touch {tmp_path}/into/1")
    with pytest.raises(ClientError, match="1 of 2 instances came"):
        query.move(peers, TO, "1.2", tmp_path / "into", port=104, expected=2)


def test_a_study_that_came_whole_has_a_time(peers: Peers, tmp_path: Path) -> None:
    says(peers, "movescu", "I: done", then=f"touch {tmp_path}/into/1 {tmp_path}/into/2")
    assert query.move(peers, TO, "1.2", tmp_path / "into", port=104, expected=2) > 0
