"""`./pacs env`: what another shell needs to use pulumi, kubectl and the rest on a stack by hand."""

from __future__ import annotations

import os
import shlex
import sys

from cli import console
from cli.engine.workspace import Layout, environment
from cli.options import Json, Stack
from toolchain import install
from toolchain.paths import REPOSITORY


def env(stack: Stack = "local", as_json: Json = False) -> None:
    """Print shell assignments: eval "$(./pacs env)" makes kubectl and pulumi speak to the stack."""
    layout = Layout(stack)
    settings = environment(layout, install.installed())
    settings["PYTHONPATH"] = str(REPOSITORY)
    settings["PULUMI_PYTHON_CMD"] = sys.executable
    if as_json:
        console.emit(settings, "", as_json=True)
        return
    for name, value in settings.items():
        # PATH keeps growing from what the shell has, not from what this process was given.
        text = value.replace(os.environ.get("PATH", ""), "") if name == "PATH" else value
        suffix = '"$PATH"' if name == "PATH" else ""
        console.out.print(f"export {name}={shlex.quote(text)}{suffix}", markup=False, soft_wrap=True)
