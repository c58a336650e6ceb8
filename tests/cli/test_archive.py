"""`./pacs archive`: what is run in the region, what a person reads, and the exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import cli.archive as verb
from cli.archive import Task, command_of, options_of, run_task, table_of
from cli.engine.workspace import Layout
from cli.errors import UsageError
from cli.exit_codes import ExitCode
from cli.main import main

FOUND = {"kind": "missing-object", "key": "packs/yanan/00/x.pack", "detail": "10 bytes are lost"}


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def printing(document: Any, status: int = 0) -> list[str]:
    return program(f"print({json.dumps(document)!r}); raise SystemExit({status})")


@pytest.fixture
def region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state in which a kubeconfig lies."""
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "kubeconfig").write_text("")
    return tmp_path


def test_the_task_runs_in_the_archives_pod_with_its_options() -> None:
    command = command_of(Layout("local"), Task.CHECK, ["--full"])
    assert command[-4:] == ["-m", "services.archive", "check", "--full"]
    assert {"exec", "statefulset/archive", "--namespace=pacs"} <= set(command)


def test_options_of_a_check_are_refused_elsewhere() -> None:
    assert options_of(Task.CHECK, full=False, sample=0.5, restart=True) == ["--sample", "0.5", "--restart"]
    with pytest.raises(UsageError):
        options_of(Task.REBUILD, full=True, sample=None, restart=False)


def test_progress_is_shown_and_the_document_is_what_stdout_holds(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"progress": "check", "packs": 3, "of": 9})
    status, document = run_task(
        program(
            f"import sys; print({line!r}, file=sys.stderr); print('noise', file=sys.stderr); print('{{}}')"
        )
    )
    assert (status, document) == (0, {})
    assert "packs 3, of 9" in capsys.readouterr().err


def test_a_program_that_says_nothing_gives_no_document() -> None:
    assert run_task(program("raise SystemExit(4)")) == (4, None)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"packs": 3, "differences": []}, ExitCode.DONE),
        ({"packs": 3, "differences": [FOUND]}, ExitCode.DIFFERENCE),
    ],
    ids=["none", "one"],
)
def test_a_difference_is_exit_status_one(
    region: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: dict[str, Any],
    expected: ExitCode,
) -> None:
    monkeypatch.setattr(verb, "command_of", lambda *_: printing(document, int(expected)))
    assert main(["archive", "check"]) == expected
    shown = capsys.readouterr().out
    assert ("missing-object" in shown) == bool(document["differences"])


def test_damage_that_a_rebuild_met_is_exit_status_one(region: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "command_of", lambda *_: printing({"packs": 2, "entered": 1, "damaged": 1}))
    assert main(["archive", "rebuild"]) == ExitCode.DIFFERENCE


def test_a_task_that_was_cut_off_can_be_run_again(
    region: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "command_of", lambda *_: program("raise SystemExit(4)"))
    assert main(["archive", "check"]) == ExitCode.FAILED
    assert "Run the same command again" in capsys.readouterr().err


def test_without_a_region_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    assert main(["archive", "check"]) == ExitCode.FAILED
    assert "./pacs up" in capsys.readouterr().err


def test_a_table_names_each_difference() -> None:
    assert table_of(Task.CHECK, {"differences": [FOUND, FOUND]}).row_count == 2
