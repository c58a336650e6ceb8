"""What a killed run leaves is taken up; what another run holds is left alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.engine import recovery
from cli.engine.workspace import RUN, Layout
from cli.errors import StepError
from toolchain.progress import Silent

DEAD = 2**22 + 1  # above the kernel's largest process id


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    made = Layout("local")
    made.make()
    made.locks.mkdir(parents=True)
    return made


def lock(layout: Layout, content: str) -> Path:
    path = layout.locks / "0b7e.json"
    path.write_text(content, encoding="utf-8")
    path.with_name("0b7e.json.attrs").write_text("{}", encoding="utf-8")
    return path


def held_by(pid: int, host: str | None = None) -> str:
    return json.dumps({"pid": pid, "username": "root", "hostname": host or socket.gethostname()})


def test_temporary_files_end_with_the_run_and_those_of_a_killed_one_with_the_next(layout: Layout) -> None:
    layout.scratch.mkdir()
    (layout.scratch / "kubeconfig1").write_text("of a killed run", encoding="utf-8")
    with recovery.alone(layout):
        assert list(layout.scratch.iterdir()) == []
        assert layout.scratch.stat().st_mode & 0o777 == 0o700
        (layout.scratch / "kubeconfig2").write_text("of this run", encoding="utf-8")
    assert not layout.scratch.exists()


def test_the_lock_of_a_process_that_is_gone_is_removed(layout: Layout) -> None:
    lock(layout, held_by(DEAD))
    assert recovery.release_stale_locks(layout) == 1
    assert list(layout.locks.iterdir()) == []


def test_a_lock_that_was_torn_by_the_kill_is_removed(layout: Layout) -> None:
    lock(layout, '{"pid": 12')
    assert recovery.release_stale_locks(layout) == 1


def test_a_process_that_only_has_the_same_number_does_not_hold_a_lock(layout: Layout) -> None:
    lock(layout, held_by(os.getpid()))
    assert recovery.release_stale_locks(layout) == 1


def pulumi(*, dead: bool) -> subprocess.Popen[bytes]:
    """A process that is called pulumi; a dead one whose parent has not taken note of its end."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    started = subprocess.Popen(
        ["pulumi", "-c", code], executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    started.stdout.readline()  # while it is put in place the kernel shows no command line of it
    if dead:
        started.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
    return started


@pytest.mark.parametrize("dead", [True, False])
def test_a_pulumi_holds_its_lock_as_long_as_it_works(layout: Layout, dead: bool) -> None:
    process = pulumi(dead=dead)
    path = lock(layout, held_by(process.pid))
    try:
        if dead:
            assert recovery.release_stale_locks(layout) == 1
        else:
            with pytest.raises(StepError, match=str(process.pid)):
                recovery.release_stale_locks(layout)
        assert path.exists() is not dead
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_another_machine_stays(layout: Layout) -> None:
    path = lock(layout, held_by(DEAD, "elsewhere"))
    with pytest.raises(StepError, match="elsewhere"):
        recovery.release_stale_locks(layout)
    assert path.exists()


def test_two_runs_do_not_change_a_stack_at_once(layout: Layout) -> None:
    with recovery.alone(layout), pytest.raises(StepError, match=str(os.getpid())), recovery.alone(layout):
        pass
    with recovery.alone(layout):
        pass


def process(layout: Layout, run: str, *words: str) -> subprocess.Popen[bytes]:
    """A process that sleeps, with the environment of what a ./pacs starts."""
    environment = os.environ | {RUN: run, "PULUMI_BACKEND_URL": f"file://{layout.backend}"}
    code = "import sys; print(flush=True); sys.stdin.read()"
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    started.stdout.readline()
    return started


def test_a_provider_of_a_killed_run_is_ended(layout: Layout) -> None:
    orphan = process(layout, str(DEAD), "-m", "pulumi.dynamic")
    assert recovery.end_orphans(layout, Silent()) == 1
    assert orphan.wait(10) != 0


def test_a_play_of_a_killed_run_is_ended_and_its_files_with_their_secrets_are_removed(layout: Layout) -> None:
    orphan = process(layout, str(DEAD), "-m", "infra.providers.play_process")
    (layout.runs / "p1").mkdir(parents=True)
    (layout.runs / "p1" / "variables.json").write_text("{}", encoding="utf-8")
    assert recovery.end_orphans(layout, Silent()) == 1
    assert orphan.wait(10) != 0
    assert not layout.runs.exists()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (str(DEAD), ("-m", "infra.hosts.keeper")),  # a host lives on
        ("this", ("-m", "pulumi.dynamic")),  # of this very run
        ("", ("-m", "pulumi.dynamic")),  # of a shell with `pacs env`
    ],
)
def test_what_is_not_of_a_killed_run_is_left_alone(run: str, words: tuple[str, ...], layout: Layout) -> None:
    other = process(layout, str(os.getpid()) if run == "this" else run, *words)
    try:
        assert recovery.end_orphans(layout, Silent()) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


class State:
    """Stands for the stack's state in Pulumi."""

    def __init__(self, deployment: dict[str, Any] | None) -> None:
        self.deployment = deployment
        self.imported: list[Any] = []

    def export_stack(self) -> State:
        return self

    def import_stack(self, state: State) -> None:
        self.imported.append(state.deployment)


def test_operations_that_a_killed_run_had_begun_are_taken_up() -> None:
    state = State(
        {"resources": [1], "pending_operations": [{"resource": {"urn": "urn::a"}, "type": "creating"}]}
    )
    assert recovery.drop_pending_operations(state) == ["urn::a"]  # type: ignore[arg-type]
    assert state.imported == [{"resources": [1], "pending_operations": []}]


@pytest.mark.parametrize("deployment", [None, {}, {"pending_operations": []}, {"pending_operations": None}])
def test_a_state_without_pending_operations_is_not_written(deployment: dict[str, Any] | None) -> None:
    state = State(deployment)
    assert recovery.drop_pending_operations(state) == []  # type: ignore[arg-type]
    assert state.imported == []
