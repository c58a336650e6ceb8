"""`down` removes what is ours, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import down, local_hosts
from cli.engine.workspace import MARKER, Layout
from cli.errors import MachineError, StepError, UsageError


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(local_hosts, "end", lambda *_, **__: [])
    return tmp_path / "local"


def test_a_stacks_state_is_removed(state: Path) -> None:
    Layout("local").make()
    down.down("local")
    assert not state.exists()


def test_keep_data_keeps_it(state: Path) -> None:
    Layout("local").make()
    (state / "secrets" / "key").write_text("x", encoding="utf-8")
    down.down("local", keep_data=True)
    assert (state / "secrets" / "key").exists()


def test_a_directory_without_our_mark_is_refused_and_untouched(state: Path) -> None:
    (state / "hosts" / "precious").mkdir(parents=True)
    with pytest.raises(UsageError, match="not a stack's state"):
        down.down("local")
    assert (state / "hosts" / "precious").is_dir()


def test_the_mark_of_another_stack_does_not_count(state: Path) -> None:
    Layout("local").make()
    state.rename(state.with_name("other"))
    (state.with_name("other") / "hosts" / "one").mkdir(parents=True)
    with pytest.raises(UsageError):
        down.down("other")


def test_up_refuses_a_directory_with_foreign_files(state: Path) -> None:
    state.mkdir()
    (state / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(MachineError, match=MARKER):
        Layout("local").make()
    assert sorted(path.name for path in state.iterdir()) == ["thesis.txt"]


def test_down_of_what_was_never_up_is_done(state: Path) -> None:
    down.down("local")
    (state / "logs").mkdir(parents=True)
    down.down("local")


def test_nothing_is_removed_under_a_mount(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Layout("local").make()
    monkeypatch.setattr(down, "mounts_below", lambda _: [state / "hosts" / "dc1"])
    with pytest.raises(StepError, match="1 mounts"):
        down.down("local")
    assert (state / MARKER).exists()


def test_real_hosts_are_not_ended_from_here() -> None:
    Layout("yanan").make()
    with pytest.raises(UsageError, match="real hosts"):
        down.down("yanan")
    assert Layout("yanan").is_ours()


def test_mounts_are_found_with_blanks_in_their_names(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 x rw\n"
        "2 1 8:1 / /var/lib/pacs/local/a\\040b rw - ext4 x rw\n"
        "3 2 8:1 / /var/lib/pacs/local/a\\040b/c rw - ext4 x rw\n"
        "4 1 8:1 / /var/lib/pacs/localhost rw - ext4 x rw\n",
        encoding="utf-8",
    )
    found = down.mounts_below(Path("/var/lib/pacs/local"), table)
    assert [str(path) for path in found] == ["/var/lib/pacs/local/a b/c", "/var/lib/pacs/local/a b"]
