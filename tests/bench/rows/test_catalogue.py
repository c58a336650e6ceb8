from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers import Peers
from bench.rows.catalogue import rows
from bench.rows.row import Row, Stage


def named(row: Row) -> str:
    return f"row {row.number}"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(Peers(tmp_path, "none"), tmp_path, tmp_path, quick=True)


@pytest.mark.parametrize("row", rows().values(), ids=named)
def test_aims_speak_of_subjects_and_cases_that_the_row_has(row: Row, stage: Stage) -> None:
    names = [subject.name for subject in row.subjects(stage.peers)]
    assert len(set(names)) == len(names)
    assert row.aims
    for aim in row.aims:
        assert aim.subject in names
        assert aim.against is None or aim.against in names
        assert aim.case is None or aim.case in row.cases(stage)


@pytest.mark.parametrize("row", rows().values(), ids=named)
def test_a_quick_run_has_no_more_cases_than_a_whole_one(row: Row, stage: Stage, tmp_path: Path) -> None:
    whole = row.cases(Stage(stage.peers, tmp_path, tmp_path, quick=False))
    assert 0 < len(row.cases(stage)) <= len(whole)
    assert len(set(whole)) == len(whole)
