"""What counts as enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.machine import resources


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "ok"),
        ('ID=debian\nVERSION_ID="13"\n', "ok"),
        ('ID=debian\nVERSION_ID="11"\n', "missing"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "missing"),
        ("ID=debian\n", "missing"),
        ("", "missing"),
    ],
)
def test_debian_12_or_newer(text: str, outcome: str) -> None:
    assert resources.operating_system(text).outcome == outcome


@pytest.mark.parametrize(("gibibytes", "outcome"), [(8, "missing"), (12, "ok"), (24, "ok")])
def test_memory_is_read_in_kibibytes(gibibytes: int, outcome: str) -> None:
    check = resources.memory(f"MemTotal:       {gibibytes << 20} kB\nMemFree: 1 kB\n")
    assert check.outcome == outcome
    assert check.found.startswith(str(gibibytes))


def test_too_few_cores_say_what_to_do() -> None:
    assert resources.cores(1).outcome == "missing"
    assert resources.cores(1).action
    assert resources.cores(2).outcome == "ok"


def test_a_full_disk_names_the_variable_that_moves_the_directory(tmp_path: Path) -> None:
    check = resources.disk("cache", tmp_path / "not" / "yet", 1 << 60)
    assert check.outcome == "missing"
    assert "PACS_CACHE_DIR" in check.action
    assert resources.disk("cache", tmp_path / "not" / "yet", 1).outcome == "ok"
