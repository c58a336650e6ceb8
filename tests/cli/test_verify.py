"""`verify` passes a sound region and notices every fault that a region may have."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from cli.main import main
from cli.verify import checks, command
from cli.verify.checks import Report, run_checks
from cli.verify.corpus import CORPUS
from cli.verify.target import DicomNode, Target
from tests.cli.region_double import RegionDouble, running

FEW = [recipe for recipe in CORPUS if recipe.key in {"us-multiframe", "name-gb18030"}]


def verify(region, tmp_path, **options):
    with running(region) as target:
        return run_checks(target, tmp_path, **{"recipes": FEW, "slices": 4, "patience": 0.5, **options})


def failures(report):
    return {(check.name, check.subject) for check in report.checks if not check.passed}


def test_a_sound_region_passes_every_check(tmp_path):
    report = verify(RegionDouble(), tmp_path)
    assert failures(report) == set()
    assert {c.subject for c in report.checks if c.name == "bytes"} >= {recipe.key for recipe in FEW}
    assert report.passed


def test_a_region_without_checks_has_not_passed():
    assert not Report("none").passed


def test_one_flipped_bit_is_noticed_in_each_file_and_in_the_series(tmp_path):
    report = verify(RegionDouble(alter=lambda content: content[:-1] + bytes([content[-1] ^ 1])), tmp_path)
    assert {("bytes", "us-multiframe"), ("bytes", "name-gb18030"), ("bytes", "4 slices")} <= failures(report)


def test_an_instance_that_was_acknowledged_and_lost_is_noticed(tmp_path):
    third_slice = len(FEW) + 2 + 3
    report = verify(RegionDouble(loses=third_slice), tmp_path)
    assert {("bytes", "4 slices"), ("QIDO count", "4 slices"), ("metadata", "4 slices")} == failures(report)
    assert any("3 read, 1 missing, 0 altered" in check.seen for check in report.checks)


def test_a_second_version_that_was_dropped_is_noticed(tmp_path):
    report = verify(RegionDouble(keeps_conflicts=False), tmp_path)
    assert failures(report) == {("conflict", "conflict"), ("second version", "conflict")}


def test_a_centre_that_answers_without_a_token_is_noticed(tmp_path):
    assert failures(verify(RegionDouble(asks_for_token=False), tmp_path)) == {("no token", "QIDO-RS")}


def test_a_chinese_name_that_cannot_be_found_is_noticed(tmp_path):
    assert failures(verify(RegionDouble(knows_names=False), tmp_path)) == {("QIDO name", "name-gb18030")}


def test_a_branch_that_waits_for_the_end_of_the_association_is_noticed(tmp_path):
    report = verify(RegionDouble(wait_for_release=True), tmp_path)
    assert ("readable within 5 s", "idle, association open") in failures(report)
    assert ("readable within 5 s", "last slice, association open") in failures(report)


def test_a_slice_that_comes_late_is_noticed_even_if_its_bytes_are_right(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "READABLE_WITHIN_SECONDS", 0.1)
    report = verify(RegionDouble(delay=0.3), tmp_path, patience=3)
    late = [c for c in report.checks if not c.passed]
    assert {c.name for c in late} == {"readable within 5 s"}
    assert all(c.seconds > 0.1 for c in late)


def test_a_refused_file_is_reported_with_its_status_and_the_others_go_on(tmp_path):
    region = RegionDouble(refuse=lambda sop_class: sop_class.endswith(".6.1"))
    report = verify(region, tmp_path)
    assert ("C-STORE", "us-multiframe") in failures(report)
    assert any(c.seen == "status 0xA700" for c in report.checks)
    assert any(c.subject == "name-gb18030" and c.name == "bytes" and c.passed for c in report.checks)


def test_a_branch_that_does_not_answer_is_a_failure_that_says_what_to_do(tmp_path):
    with running(RegionDouble()) as sound:
        target = Target("x", DicomNode("127.0.0.1", 1, "BRANCH"), "MODALITY", sound.centre_url, sound.token)
        report = run_checks(target, tmp_path, recipes=FEW, slices=2, patience=0.1)
    assert not report.passed
    assert all("./pacs status" in check.seen for check in report.checks)


@pytest.fixture
def run(monkeypatch):
    """The command as a user calls it, against a double instead of a stack's addresses."""

    def run(region, *arguments):
        app = Typer()
        app.command()(command.verify)
        with running(region) as target:
            monkeypatch.setattr(command, "load_region", lambda stack: stack)
            monkeypatch.setattr(command, "target_of", lambda *_, **__: target)
            monkeypatch.setattr(
                command, "run_checks",
                lambda target, folder, progress: run_checks(
                    target, folder, recipes=FEW, slices=2, patience=0.3, progress=progress
                ),
            )  # fmt: skip
            return CliRunner().invoke(app, list(arguments))

    return run


def test_the_command_ends_with_0_and_prints_json_on_stdout_alone(run):
    result = run(RegionDouble(), "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["passed"] is True
    assert document["checks"][0].keys() == {"name", "subject", "passed", "seen", "seconds"}
    assert "verify: " in result.stderr


def test_the_command_ends_with_1_and_a_table_where_something_differs(run):
    result = run(RegionDouble(keeps_conflicts=False))
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "2 of " in result.stdout


def test_the_command_ends_with_2_for_a_stack_that_is_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    assert main(["verify", "--stack", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_command_ends_with_2_where_the_stack_was_never_brought_up(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    assert main(["verify"]) == 2
    assert "run ./pacs up" in " ".join(capsys.readouterr().err.split())


def test_text_from_the_network_cannot_move_the_cursor_or_colour_the_table():
    report = Report("run")
    report.add("bytes", "ct", False, "\x1b[2J[bold]gone")
    console = Console(record=True, width=120)
    command.print_report(report, Target("x", DicomNode("h", 1, "AE"), "ME", "http://c", "t"), console)
    shown = console.export_text()
    assert "\x1b" not in shown
    assert "[bold]gone" in shown


def test_the_token_is_in_no_repr():
    assert "secret" not in repr(Target("x", DicomNode("h", 1, "AE"), "ME", "http://c", token="secret"))
