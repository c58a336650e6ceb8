"""Where a program of the toolchain lies, by its name."""

from __future__ import annotations

from pathlib import Path

from toolchain.errors import ToolchainError
from toolchain.install import installed
from toolchain.versions import versions


def path(program: str) -> Path:
    """The cached file of `program`. Raises ToolchainError where no group gives it or it is not installed."""
    for group, tool in versions().tools.items():
        if program in tool.binaries:
            return installed([group])[program]
    known = ", ".join(sorted(name for tool in versions().tools.values() for name in tool.binaries))
    raise ToolchainError(f"no tool group gives {program}", f"versions.yaml has {known}", "Add it there.")
