"""Where things lie (contracts section 14): one folder of states for all stacks, one cache for all checkouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.paths import cache_directory, state_directory


def test_the_state_variable_names_the_parent_of_every_stacks_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_STATE_DIR", "/srv/pacs")
    assert state_directory("local") == Path("/srv/pacs/local")
    assert state_directory("yanan") == Path("/srv/pacs/yanan")


def test_without_variables_state_and_cache_are_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACS_STATE_DIR", "PACS_CACHE_DIR"):
        monkeypatch.setenv(name, "")
    assert state_directory("local") == Path("/var/lib/pacs/local")
    assert cache_directory() == Path("/var/cache/pacs")
