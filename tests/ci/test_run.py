"""`.ci/run` ends with 0 only if the tests passed and nothing of ours is left on the machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from toolchain.paths import REPOSITORY


@pytest.mark.parametrize(("tests", "down", "status"), [(0, 0, 0), (1, 0, 1), (0, 4, 4), (1, 4, 1)])
def test_a_failed_clean_up_fails_the_run_and_hides_no_failed_test(
    tests: int, down: int, status: int, tmp_path: Path
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci/run", tmp_path / ".ci/run")
    command = tmp_path / "pacs"
    command.write_text(
        f'#!/bin/sh\necho "$*" >> called\ncase $1 in test) exit {tests};; down) exit {down};; esac\n'
    )
    command.chmod(0o755)
    answer = subprocess.run([tmp_path / ".ci/run"], capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == status
    assert (tmp_path / "called").read_text().splitlines() == ["test", "down"]
    assert ("ended with 4" in answer.stderr) == (down == 4)
