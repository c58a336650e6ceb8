"""The whole smoke run, from arrivals to exit code, and its command line."""

from __future__ import annotations

import json
import subprocess
import sys


def smoke(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.load_tests.smoke_on_double", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_sound_region_keeps_every_objective_and_the_run_ends_by_itself():
    result = smoke()
    document = json.loads(result.stdout)
    assert (result.returncode, document["kept"]) == (0, True), result.stdout + result.stderr
    assert {o["name"] for o in document["objectives"]} >= {"open a study", "late starts: reading room"}


def test_frames_that_are_cut_short_miss_the_objective_of_the_journey():
    result = smoke("--altered")
    missed = {o["name"] for o in json.loads(result.stdout)["objectives"] if not o["kept"]}
    assert result.returncode == 1
    assert "open a study" in missed


def test_an_unknown_stack_is_a_configuration_error_without_a_traceback():
    result = subprocess.run(
        [sys.executable, "-m", "load_tests", "smoke", "--stack", "nowhere"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr
