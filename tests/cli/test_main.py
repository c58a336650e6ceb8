"""What every verb has in common: exit status, errors without tracebacks, data apart from progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import console, main
from cli.errors import StepError
from cli.exit_codes import MEANINGS, ExitCode
from toolchain.errors import UnreachableError
from toolchain.paths import REPOSITORY


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State, cache and logs of the test's own."""
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def verb_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `status` end with `error`."""

    def status() -> None:
        """Fail."""
        raise error

    module = type(sys)("failing")
    module.status = status  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing", module)
    monkeypatch.setitem(main.VERBS, "status", main.Verb("failing", "status"))


@pytest.mark.parametrize("verb", list(main.VERBS))
def test_every_verb_explains_itself_and_the_exit_status(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([verb, "--help"]) == ExitCode.DONE
    text = " ".join(capsys.readouterr().out.split())
    assert all(f"{int(code)} {meaning}" in text for code, meaning in MEANINGS.items())


def test_an_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["frobnicate"]) == ExitCode.USAGE
    told = capsys.readouterr()
    assert "frobnicate" in told.err
    assert told.out == ""


@pytest.mark.parametrize("name", ["../../etc", "UPPER", "", "a" * 50])
def test_a_stack_name_that_cannot_be_a_directory_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["status", "--stack", name]) == ExitCode.USAGE
    assert "not the name of a stack" in capsys.readouterr().err


def test_an_unknown_stack_names_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--stack", "nowhere"]) == ExitCode.USAGE
    assert "local" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StepError("the step failed", "the disk is full", "free some"), ExitCode.FAILED),
        (UnreachableError("the vendor is away", "no route", "check the network"), ExitCode.FAILED),
        (ZeroDivisionError("a fault of ours"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_no_error_shows_a_traceback(
    error: BaseException,
    status: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb_that_raises(monkeypatch, error)
    assert main.main(["status"]) == status
    told = capsys.readouterr()
    assert "Traceback" not in told.err + told.out
    assert told.out == ""


def test_a_foreseen_error_says_what_why_what_to_do_and_where_the_log_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], places: Path
) -> None:
    verb_that_raises(monkeypatch, StepError("the step [failed]", "the disk is full", "free some"))
    main.main(["status"])
    told = capsys.readouterr().err
    log = places / "cache" / "logs" / "local" / "status.log"
    for part in ("the step [failed]", "the disk is full", "free some", str(log)):
        assert part in told
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_verb_that_only_looks_makes_no_state(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["down"])
    assert "does not exist" in capsys.readouterr().err
    assert not (places / "state").exists()


def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit({"name": "延安", "path": Path("/x")}, "", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"name": "延安", "path": "/x"}


def test_no_color_leaves_no_escape_codes() -> None:
    environment = os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "", "PYTHONPATH": str(REPOSITORY)}
    answer = subprocess.run(
        [sys.executable, "-m", "cli", "frobnicate"], env=environment, capture_output=True, check=False
    )
    assert answer.returncode == ExitCode.USAGE
    assert b"\x1b" not in answer.stderr
