"""Root filesystems: made once, whoever asks; a failure says what and leaves nothing half-made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from toolchain import rootfs
from toolchain.errors import ToolchainError

ASKING = 4


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the front of PATH, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def mmdebstrap(folder: Path, script: str) -> None:
    """A stand-in of Debian's program; the tar's name is its last argument."""
    program = folder / "mmdebstrap"
    program.write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def test_hosts_that_ask_at_once_get_the_one_that_was_made(programs: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    mmdebstrap(programs, f'echo run >> {runs}\necho tar > "$last"')
    together = Barrier(ASKING)

    def ask(_: int) -> Path:
        together.wait()
        return rootfs.host_root()

    with ThreadPoolExecutor(ASKING) as threads:
        found = set(threads.map(ask, range(ASKING)))
    assert [path.read_text() for path in found] == ["tar\n"]
    assert runs.read_text() == "run\n"


def test_a_failed_one_is_told_in_its_own_words_and_made_by_the_next_run(programs: Path) -> None:
    mmdebstrap(programs, 'echo "E: the mirror is away"; echo half > "$last"; exit 1')
    with pytest.raises(ToolchainError, match="mmdebstrap of host failed") as failed:
        rootfs.host_root()
    assert "E: the mirror is away" in str(failed.value.why)
    mmdebstrap(programs, 'echo tar > "$last"')
    made = rootfs.host_root()
    assert made.read_text() == "tar\n"
    assert list(made.parent.glob("*.part*")) == []
