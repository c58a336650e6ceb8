from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import Aim, load_row, row_from_json, run_from_json, to_json
from tests.bench.samples import FAILED, REACHED, run


def test_results_come_back_from_json_as_they_were() -> None:
    assert row_from_json(to_json(FAILED)) == FAILED
    assert run_from_json(to_json(run(REACHED, FAILED))) == run(REACHED, FAILED)


def test_results_of_another_format_are_refused() -> None:
    text = to_json(run(REACHED)).replace('"format": 1', '"format": 99')
    with pytest.raises(ValueError, match="format 1"):
        run_from_json(text)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_kept_row_that_cannot_be_read_is_measured_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "row").write_text(content)
    assert load_row(tmp_path / "row") is None
    assert load_row(tmp_path / "none") is None


def test_an_aim_has_one_bound() -> None:
    with pytest.raises(ValueError, match="either"):
        Aim("x", "archive")
    with pytest.raises(ValueError, match="either"):
        Aim("x", "archive", at_least=1, at_most=2)


def test_cases_and_subjects_keep_their_order() -> None:
    assert (REACHED.cases, REACHED.subjects) == (["1 association"], ["archive", "orthanc"])
    assert FAILED.failures == [FAILED.outcomes[1]]
