"""`./pacs` itself: makes its environment once, whole or not at all, and then gets out of the way."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from toolchain.paths import REPOSITORY

# Stands for Debian's python3: `-m venv` copies this script, `-m pip` does what $PIP says, and
# `-m cli` tells what it was called with.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-VV "*) echo "Python 3.11.2 (a test)" ;;
  "-c "*) [ -z "$NO_VENV" ] || case "$2" in *ensurepip*) exit 1 ;; esac ;;
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "#!$3/bin/python" > "$3/bin/tool"
    touch "$3/pyvenv.cfg"; printf '#!/bin/sh\\nexit 1\\n' > "$3/bin/uv"; chmod +x "$3/bin/uv" ;;
  "-m pip") echo "$@" >> "$PIP_LOG"; eval "$PIP" ;;
  "-m cli") shift 2; echo "cli $*"; echo "$PYTHONPATH" ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_clone(tmp_path / "clone")


def make_clone(directory: Path) -> Path:
    directory.mkdir()
    shutil.copy(REPOSITORY / "pacs", directory / "pacs")
    (directory / "requirements.lock").write_text(
        "uv==1.0 \\\n    --hash=sha256:00\n    # via us\nx==1\n", encoding="utf-8"
    )
    return directory


def run(
    clone: Path, *words: str, script: str = PYTHON, **environment: str
) -> subprocess.CompletedProcess[str]:
    root = clone.parent
    python = root / "python3"
    python.write_text(script, encoding="utf-8")
    python.chmod(0o755)
    settings = {
        "PATH": "/usr/bin:/bin",
        "PACS_PYTHON": str(python),
        "PACS_CACHE_DIR": str(root / "cache"),
        "PIP": "true",
        "PIP_LOG": str(root / "pip.log"),
    }
    return subprocess.run(
        [str(clone / "pacs"), *words], env=settings | environment, capture_output=True, text=True, check=False
    )


def test_the_first_run_makes_the_environment_and_then_runs_the_verb(clone: Path) -> None:
    answer = run(clone, "status", "--stack", "a b")
    assert answer.returncode == 0
    assert answer.stdout == f"cli status --stack a b\n{clone}\n"
    assert "once for this machine" in answer.stderr


def test_every_package_is_checked_by_its_hash(clone: Path) -> None:
    run(clone)
    calls = (clone.parent / "pip.log").read_text(encoding="utf-8").splitlines()
    assert calls
    assert all("--require-hashes" in call for call in calls)


def test_a_second_run_is_silent_and_quick(clone: Path) -> None:
    run(clone)
    begun = time.monotonic()
    answer = run(clone, "status")
    assert time.monotonic() - begun < 0.3
    assert answer.stderr == ""


def test_a_second_clone_builds_nothing_and_runs_its_own_code(clone: Path) -> None:
    run(clone)
    other = make_clone(clone.parent / "other")
    answer = run(other, "status", PIP="exit 1")
    assert answer.stdout == f"cli status\n{other}\n"
    assert answer.stderr == ""


def test_a_changed_lock_is_another_environment(clone: Path) -> None:
    run(clone)
    with (clone / "requirements.lock").open("a", encoding="utf-8") as lock:
        lock.write("y==2\n")
    assert "once for this machine" in run(clone).stderr
    assert len([path for path in (clone.parent / "cache/venv").iterdir() if path.is_dir()]) == 2


def test_a_failed_installation_leaves_no_environment_and_says_what_to_do(clone: Path) -> None:
    answer = run(clone, "status", PIP="echo 'no matching hash' >&2; exit 1")
    assert answer.returncode == 3
    assert answer.stdout == ""
    for part in ("could not be made", "no matching hash", "run again"):
        assert part in answer.stderr
    assert [path for path in (clone.parent / "cache/venv").iterdir() if path.is_dir()] == []
    assert run(clone, "status").returncode == 0


def test_programs_of_the_environment_start_with_its_final_place(clone: Path) -> None:
    run(clone)
    (tool,) = (clone.parent / "cache/venv").glob("*/bin/tool")
    assert tool.read_text(encoding="utf-8") == f"#!{tool.parent}/python\n"


def test_the_lock_of_the_bootstrap_is_not_held_while_the_verb_runs(clone: Path) -> None:
    text = PYTHON.replace("shift 2;", "shift 2; ls -l /proc/$$/fd;")
    assert text != PYTHON
    answer = run(clone, "status", script=text)
    assert "/proc" in answer.stdout or " 0 -> " in answer.stdout
    assert "venv/lock" not in answer.stdout


def path_without_apt(clone: Path) -> str:
    """A PATH with what the script uses, and no python3 and no apt-get."""
    directory = clone.parent / "bin"
    directory.mkdir()
    for name in (
        "bash",
        "cat",
        "cut",
        "dirname",
        "env",
        "flock",
        "id",
        "mkdir",
        "readlink",
        "rm",
        "sha256sum",
    ):
        (directory / name).symlink_to(shutil.which(name) or name)
    return str(directory)


def test_an_old_python_is_refused(clone: Path) -> None:
    old = clone.parent / "old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    script = (clone / "pacs").read_text(encoding="utf-8").replace("/usr/bin/python3", str(old))
    (clone / "pacs").write_text(script, encoding="utf-8")
    answer = run(clone, "status", PACS_PYTHON=str(old), PATH=path_without_apt(clone))
    assert answer.returncode == 3
    assert "no Python 3.11 or newer" in answer.stderr


def test_a_python_without_its_venv_module_is_told_by_its_package(clone: Path) -> None:
    answer = run(clone, "status", NO_VENV="1", PATH=path_without_apt(clone))
    assert answer.returncode == 3
    assert "apt-get install python3-venv" in answer.stderr
