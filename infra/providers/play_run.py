"""One run of a playbook, in a process of its own, reduced to what changed, failed or could not be reached.

ansible-runner forks, and Pulumi's plugin process serves gRPC from several threads: a fork there ends now and
then before Ansible has started. So the run gets a fresh interpreter (`play_process`). The request, secrets
included, reaches it in a file of mode 0600 in a directory of mode 0700 that is removed afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]

_END_SECONDS = 10.0
REQUEST, REPORT = "request.json", "report.json"


@dataclass
class PlayReport:
    """What a run did. Each entry names its host and task: `dc1: Configure kubeadm`."""

    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    return_code: int = 0

    @property
    def succeeded(self) -> bool:
        return self.return_code == 0 and not self.failed and not self.unreachable


@dataclass(frozen=True)
class PlayRequest:
    """What to run. `hosts` are the inventory: name, groups, address, user, port, key, host_key, variables."""

    name: str
    playbook: str
    hosts: Sequence[Mapping[str, Any]]
    variables: Mapping[str, Any]
    state_dir: Path
    check: bool = False


def run_play(request: PlayRequest) -> PlayReport:
    """Run the playbook (with `check`: change nothing, tell what would change) and report.

    Never raises for a failed task; OSError where the state directory cannot be written.
    """
    with _private_directory(request.state_dir) as home:
        write_private(home / REQUEST, json.dumps(asdict(request) | {"state_dir": str(request.state_dir)}))
        # The pipe is never written to: its end tells the run that we are gone, and that it must end too.
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.providers.play_process", str(home)],
            stdin=subprocess.PIPE,
            cwd=PROJECT,
            start_new_session=True,
        )
        with process:
            return_code = process.wait()
        return _report(home / REPORT, return_code)


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _report(path: Path, return_code: int) -> PlayReport:
    if not path.is_file():
        return PlayReport(
            failed=[f"the run ended with {return_code} before it could report"], return_code=return_code or 1
        )
    return PlayReport(**json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def _private_directory(state_dir: Path) -> Iterator[Path]:
    """A directory of mode 0700 for one run. Short name: ssh's control socket must fit into 108 bytes."""
    base = state_dir / "run"
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="p", dir=base) as name:
        try:
            yield Path(name)
        finally:
            end_connections(base, Path(name).name)


def end_connections(runs: Path, run: str = "*") -> None:
    """End the ssh connections of a run, or of all below `runs`: Ansible keeps them open for the next task.

    They would live a minute longer than their hosts, and hide whose they are.
    """
    for socket in runs.glob(f"{run}/ssh/*"):
        command = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={socket}", "-O", "exit", "master"]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_END_SECONDS, check=False)
