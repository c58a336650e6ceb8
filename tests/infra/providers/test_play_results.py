from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.providers.play_results import PlayResultsProvider, ResultsMissingError


def test_the_values_that_a_play_wrote_come_back(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"kubeconfig": "k"}))
    outputs = PlayResultsProvider().create({"path": str(path)}).outs
    assert outputs == {"path": str(path), "values": {"kubeconfig": "k"}}


def test_values_change_exactly_when_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    olds = {"path": str(path), "values": {"kubeconfig": "k"}}
    assert PlayResultsProvider().diff("id", olds, {"path": str(path)}).changes is False
    path.write_text(json.dumps({"kubeconfig": "k"}))
    assert PlayResultsProvider().diff("id", olds, {"path": str(path)}).changes is False
    path.write_text(json.dumps({"kubeconfig": "renewed"}))
    assert PlayResultsProvider().diff("id", olds, {"path": str(path)}).changes is True


@pytest.mark.parametrize("text", [None, "[1]"])
def test_missing_or_foreign_results_say_what_to_do(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ResultsMissingError, match=r"[Rr]un \./pacs up"):
        PlayResultsProvider().create({"path": str(path)})
