"""What a killed run leaves in Pulumi's state, and how the next run takes it up.

- processes of pulumi, its providers and Ansible: given time to end, then ended;
- the files of plays while they ran, secrets among them: removed;
- a lock: taken away only when the process that holds it is gone;
- pending operations: a create that may or may not have happened. Every resource of ours can be
  created again over itself (server-side apply, plays, hosts), so the record is dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.engine.workspace import RUN, Layout
from cli.errors import StepError
from infra.providers.play_run import end_connections
from toolchain.progress import Progress

if TYPE_CHECKING:
    from pulumi.automation import Stack

_LET_GO_ON_SECONDS = 20.0
_STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_MODULES = {"pulumi.dynamic", "infra.providers.play_process"}


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """One `./pacs` changes a stack at a time; the lock ends with its process. Raises StepError.

    Temporary files of a run, and of a killed one before it, are removed.
    """
    with (layout.state / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise StepError(
                f"another ./pacs is changing the stack {layout.stack}",
                f"process {lock.read().strip() or 'unknown'} holds {layout.state / 'lock'}",
                "Wait for it to end, then run again.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        shutil.rmtree(layout.scratch, ignore_errors=True)
        layout.scratch.mkdir(mode=0o700)
        try:
            yield
        finally:
            shutil.rmtree(layout.scratch, ignore_errors=True)


def end_orphans(layout: Layout, progress: Progress) -> int:
    """End what a killed ./pacs left working on the stack, and remove the files of its plays; return how many.

    Call it inside `alone`. pulumi itself gets time to finish what it is doing; hosts and their keepers are
    not touched.
    """
    ended = _end(layout, progress)
    end_connections(layout.runs)
    shutil.rmtree(layout.runs, ignore_errors=True)
    return ended


def _end(layout: Layout, progress: Progress) -> int:
    orphans = _orphans(layout)
    if not orphans:
        return 0
    progress.update("pulumi", f"a killed run is still at work (process {orphans[0]}): waiting for its end")
    _wait(layout, _LET_GO_ON_SECONDS, only_pulumi=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for pid in _orphans(layout):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait(layout, _STOP_SECONDS):
            return len(orphans)
    raise StepError(
        f"process {_orphans(layout)[0]} of a killed run does not end",
        "it was asked to, and killed",
        "Look at what it waits for, then run again.",
    )


def release_stale_locks(layout: Layout) -> int:
    """Remove Pulumi's locks of processes that are gone; return how many. Call it after `end_orphans`."""
    released = 0
    for lock in sorted(layout.locks.glob("*.json")):
        pid, host = _holder(lock)
        here = host in {socket.gethostname(), None}
        if not here or (pid is not None and _is_pulumi(pid)):
            raise StepError(
                f"the stack {layout.stack} is locked",
                f"process {pid} on {host} is working on it ({lock})",
                "Wait for it to end. If that machine is gone, remove the file. Then run again.",
            )
        for file in (lock, lock.with_name(f"{lock.name}.attrs")):
            file.unlink(missing_ok=True)
        released += 1
    return released


def drop_pending_operations(stack: Stack) -> list[str]:
    """Forget operations that a killed run had begun; return their URNs."""
    state = stack.export_stack()
    document = dict(state.deployment or {})
    pending = document.get("pending_operations") or []
    if pending:
        document["pending_operations"] = []
        state.deployment = document
        stack.import_stack(state)
    return [str(operation.get("resource", {}).get("urn", "?")) for operation in pending]


def _holder(lock: Path) -> tuple[int | None, str | None]:
    try:
        document = json.loads(lock.read_text(encoding="utf-8"))
        return int(document["pid"]), str(document["hostname"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None  # torn by the kill: nobody can be working under it


def _is_pulumi(pid: int) -> bool:
    """Whether `pid` is a pulumi that works: not a later user of the number, and not one that is dead already.

    The command line of a dead process is empty, though its number and name stay until its parent, or the machine's
    process 1, takes note.
    """
    try:
        program = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
    except OSError:
        return False
    return Path(program).name == "pulumi"


def _orphans(layout: Layout) -> list[int]:
    """Processes of pulumi, its providers and Ansible that a ./pacs started on this stack and outlived it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = dict(
                pair.split(b"=", 1) for pair in (entry / "environ").read_bytes().split(b"\0") if b"=" in pair
            )
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended, or is another user's
        run = variables.get(RUN.encode(), b"").decode()
        ours = variables.get(b"PULUMI_BACKEND_URL") == f"file://{layout.backend}".encode()
        if ours and run.isdigit() and not _alive(int(run)) and _works_for_pulumi(arguments):
            found.append(int(entry.name))
    return sorted(found)


def _works_for_pulumi(arguments: list[str]) -> bool:
    """By its first words; the keepers of hosts carry the same environment and must live on."""
    programs = [Path(argument).name for argument in arguments[:2]]
    return not _MODULES.isdisjoint(arguments) or any(
        program.startswith(("pulumi", "ansible-playbook")) for program in programs
    )


def _alive(run: int) -> bool:
    """Whether the ./pacs with this process id is this one; `alone` says that no other can be."""
    return run == os.getpid()


def _wait(layout: Layout, seconds: float, *, only_pulumi: bool = False) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = [pid for pid in _orphans(layout) if not only_pulumi or _is_pulumi(pid)]
        if not left:
            return True
        time.sleep(_LOOK_SECONDS)
    return False
