"""What `./pacs test` runs, and that its last words are the test runner's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from cli import console
from cli import test as verb
from cli.errors import StepError
from cli.exit_codes import ExitCode


def test_the_default_run_leaves_out_what_needs_real_processes() -> None:
    command = verb.pytest(everything=False, failed=[])
    assert "-m" not in command[3:]
    assert command[command.index("-n") + 1] == "2"


def test_all_deselects_nothing_and_keeps_what_belongs_together_in_one_process() -> None:
    command = verb.pytest(everything=True, failed=[])
    assert command[command.index("-m", 3) + 1] == ""
    assert command[command.index("--dist") + 1] == "loadfile"
    assert "--no-loadscope-reorder" in command, "the region would not be last"


def test_every_step_names_a_program_of_the_environment() -> None:
    for step in verb.steps():
        assert Path(step.command[0]).is_absolute() or step.command[0] == "promtool", step.name


@pytest.mark.parametrize(("linter", "runner", "passes"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_a_failed_linter_fails_the_run_but_the_tests_still_run_last(
    linter: int, runner: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append("pytest" if "pytest" in command else "linter")
        return subprocess.CompletedProcess(command, runner if "pytest" in command else linter, "", "")

    monkeypatch.setattr(verb.subprocess, "run", run)
    monkeypatch.setattr(verb.debian, "install", lambda *_: [])
    if passes:
        verb.test()
    else:
        with pytest.raises(typer.Exit) as stop:
            verb.test()
        assert stop.value.exit_code == ExitCode.DIFFERENCE
    assert ran[-1] == "pytest"
    assert ran.count("pytest") == 1


def test_promtool_checks_the_rules_of_centre_and_branch() -> None:
    (step,) = [step for step in verb.steps() if step.name == "promtool"]
    checked = [Path(rule).parent.name for rule in step.command[3:]]
    assert checked == ["branch", "centre"]


def test_a_tree_without_alert_rules_is_no_passed_check(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no alert rules"):
        verb.alert_rules(tmp_path)


def test_a_check_whose_program_is_missing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    step = verb.Step("promtool", ["promtool-that-is-nowhere"])
    assert not verb._passes(step, console.Lines())
    assert "not on this machine" in capsys.readouterr().err


def test_with_all_no_program_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []

    def run(_: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        environments.append(options["env"])
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(verb.subprocess, "run", run)
    monkeypatch.setattr(verb.debian, "install", lambda *_: [])
    monkeypatch.setattr(verb, "_prepare_all", lambda _: None)
    monkeypatch.setattr(verb, "steps", list)
    monkeypatch.delenv(verb.EVERYTHING, raising=False)
    verb.test()
    verb.test(everything=True)
    assert [verb.EVERYTHING in environment for environment in environments] == [False, True]


def test_a_larger_scale_reaches_the_fault_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[dict[str, str]] = []

    def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        environments.append(options["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(verb.subprocess, "run", run)
    monkeypatch.setattr(verb.debian, "install", lambda *_: [])
    verb.test(scale=20)
    assert environments[-1]["PACS_SCALE"] == "20"
