"""A test that lacks a program is skipped by a developer's run, and fails where everything was to be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.test import EVERYTHING
from tests.conftest import THREE_NODES, OneRegion
from toolchain.paths import REPOSITORY

SKIPPING = """
import pytest

@pytest.fixture
def program():
    pytest.skip("needs storescp")

def test_with_a_fixture(program): pass

@pytest.mark.skipif(True, reason="needs root")
def test_with_a_mark(): pass

def test_of_something_else(): pytest.skip("this release cannot do it")

def test_that_passes(): pass
"""


@pytest.mark.parametrize(
    ("environment", "ends"),
    [({}, "1 passed, 3 skipped"), ({EVERYTHING: "1"}, "1 passed, 1 skipped, 2 errors")],
)
def test_what_needs_a_program_fails_only_where_everything_was_to_be_there(
    environment: dict[str, str], ends: str, tmp_path: Path
) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    rest = {name: value for name, value in os.environ.items() if name != EVERYTHING}
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "--color=no", str(tmp_path)],
        env=rest | {"PYTHONPATH": str(REPOSITORY)} | environment,
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert f"{ends} in " in done.stdout, done.stdout + done.stderr


def test_the_region_is_one_piece_of_work_and_the_three_nodes_another() -> None:
    split = OneRegion._split_scope
    region = {
        split(object.__new__(OneRegion), f"tests/region/{name}.py::test") for name in ("test_a", "test_b")
    }
    assert region == {"region"}
    assert split(object.__new__(OneRegion), f"{THREE_NODES}::test") == THREE_NODES
    assert split(object.__new__(OneRegion), "tests/cli/test_test.py::test") == "tests/cli/test_test.py"
