"""Manifests and scripts that projects publish inside their Go modules, copied into the cache.

They come from the same module, at the same version and verified by the same go.sum, as the program
that understands them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from toolchain import go
from toolchain.build import module_directory
from toolchain.errors import ToolchainError
from toolchain.install import installing
from toolchain.paths import cache_directory
from toolchain.progress import Progress, Silent
from toolchain.versions import Versions, expand, versions


def ensure(progress: Progress | None = None) -> None:
    """Copy every manifest of versions.yaml into the cache. Raises ToolchainError."""
    pinned = versions()
    watch = progress or Silent()
    missing = [tool for tool in pinned.manifests if not _is_complete(tool, pinned)]
    if missing:
        with installing(watch):
            for tool in missing:
                _ensure_tool(tool, pinned, watch)


def path(tool: str, file: str) -> Path:
    """The cached manifest `file` of `tool`. Raises ToolchainError where it is unknown or not there yet."""
    pinned = versions()
    if file not in pinned.manifests.get(tool, {}):
        known = ", ".join(f"{name}/{entry}" for name, files in pinned.manifests.items() for entry in files)
        raise ToolchainError(
            f"there is no manifest {tool}/{file}",
            f"versions.yaml has {known}",
            "Add it there under `manifests`.",
        )
    found = _directory(tool, pinned) / file
    if not found.is_file():
        raise ToolchainError(
            f"the manifest {tool}/{file} is not in the cache", f"{found} does not exist", "Run ./pacs up."
        )
    return found


def _directory(tool: str, pinned: Versions) -> Path:
    return cache_directory() / "manifests" / f"{tool}-{pinned.tools[tool].version}"


def _is_complete(tool: str, pinned: Versions) -> bool:
    return all((_directory(tool, pinned) / name).is_file() for name in pinned.manifests[tool])


def _ensure_tool(tool: str, pinned: Versions, progress: Progress) -> None:
    target = _directory(tool, pinned)
    files = pinned.manifests[tool]
    version = pinned.tools[tool].version
    if _is_complete(tool, pinned):
        return  # another run made it meanwhile
    progress.update(f"{tool} manifests", "copying from the Go module")
    home = module_directory(tool, pinned.tools[tool].build.module, go.ensure(pinned, progress))
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        for name, inner in files.items():
            _copy(home / expand(inner, version), scratch / name)
        scratch.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    progress.done(f"{tool} manifests", version)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise ToolchainError(
            f"the module publishes no {source.name}",
            f"{source} does not exist",
            "Correct `manifests` in toolchain/versions.yaml.",
        )
    shutil.copyfile(source, target)
