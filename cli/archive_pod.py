"""A chore of the archive, run where the archive runs: it alone has the keys and reaches store and index."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from cli.errors import StepError
from infra import naming
from toolchain.errors import ToolchainError
from toolchain.install import installed

if TYPE_CHECKING:
    from cli.engine.workspace import Layout

HOURS = 24


def chore(layout: Layout, name: str) -> dict[str, Any]:
    """The JSON document that `python -m services.archive <name>` prints in the first archive pod. Raises StepError."""
    command = [
        _kubectl(),
        f"--kubeconfig={layout.kubeconfig}",
        f"--namespace={naming.PACS}",
        "exec",
        f"{naming.ARCHIVE}-0",
        f"--container={naming.ARCHIVE}",
        "--",
        "/usr/bin/python3",
        "-m",
        "services.archive",
        name,
    ]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=HOURS * 3600, check=False)
        if answer.returncode == 0:
            document: dict[str, Any] = json.loads(answer.stdout)
            return document
        reason = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        reason = str(error)
    raise StepError(
        f"the archive did not run `{name}`", reason, "Look at ./pacs status; then run the command again."
    )


def _kubectl() -> str:
    try:
        return str(installed(["kubernetes"])["kubectl"])
    except ToolchainError:
        return shutil.which("kubectl") or "kubectl"
