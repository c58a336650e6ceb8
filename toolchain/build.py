"""Building a tool group from its pinned Go modules.

go.sum is complete, so a build asks no checksum database. The go build cache makes an interrupted
build continue where it was; the result is complete or absent because the caller renames it.
"""

from __future__ import annotations

import collections
import json
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from toolchain import go
from toolchain.errors import BuildError
from toolchain.paths import cache_directory
from toolchain.progress import Progress
from toolchain.versions import TOOLCHAIN, Tool, Versions, expand

_REPORT_SECONDS = 2.0


def build(group: str, tool: Tool, versions: Versions, target: Path, progress: Progress) -> None:
    """Build `group` into the directory `target`. Raises GoError or BuildError.

    One build at a time: the caller holds the cache's lock, and what a killed build left is removed.
    """
    compiler = go.ensure(versions, progress)
    temporary = cache_directory() / "go" / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix=f"{group}-", dir=temporary) as scratch:
        folder = _sources(group, tool, compiler, Path(scratch))
        flags = " ".join(
            f"-X {name}={expand(value, tool.version)}" for name, value in tool.build.ldflags.items()
        )
        # What a debugger reads is left out when the program is linked; it need not be compiled either.
        command = [str(compiler), "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false"]
        command += ["-ldflags", f"-s -w {flags}".strip()]
        command += ["-o", f"{target}/", tool.build.package]
        _run(command, folder, go.environment() | {"GOTMPDIR": scratch}, group, progress)
    for built, wanted in tool.build.rename.items():
        (target / built).rename(target / wanted)
    if tool.build.scripts:
        home = module_directory(group, tool.build.scripts_module or tool.build.module, compiler)
        for name, inner in tool.build.scripts.items():
            shutil.copyfile(home / inner, target / name)
            (target / name).chmod(0o755)


def module_directory(group: str, module: str, compiler: Path) -> Path:
    """The directory of `module` at the version that the group's go.mod pins, downloaded if need be."""
    answer = subprocess.run(
        [str(compiler), "mod", "download", "-json", module],
        env=go.environment(),
        cwd=TOOLCHAIN / group,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(answer.stdout)
    except json.JSONDecodeError:
        found = {"Error": answer.stderr.strip()}
    if answer.returncode != 0 or "Dir" not in found:
        raise BuildError(
            f"the Go module {module} could not be fetched",
            str(found.get("Error") or "the go command gave no directory"),
            "Check that the Go module proxy (go env GOPROXY) can be reached, then run again.",
        )
    return Path(found["Dir"])


def _sources(group: str, tool: Tool, compiler: Path, scratch: Path) -> Path:
    """The folder to build in: the group's own, or a copy with the module's files beside main.go."""
    folder = TOOLCHAIN / group
    if not tool.build.embed:
        return folder
    home = module_directory(group, tool.build.module, compiler)
    copy = Path(shutil.copytree(folder, scratch / group))
    for name, inner in tool.build.embed.items():
        shutil.copyfile(home / inner, copy / name)
        (copy / name).chmod(stat.S_IRUSR | stat.S_IWUSR)
        if tool.build.omit:
            without_lines(copy / name, tool.build.omit)
    return copy


def without_lines(file: Path, texts: Sequence[str]) -> None:
    """Remove the lines that hold one of `texts`. Raises BuildError for a text that no line holds."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    absent = [text for text in texts if not any(text in line for line in lines)]
    if absent:
        raise BuildError(
            f"{file.name} has no line with {', '.join(absent)}",
            "versions.yaml leaves such lines out, and the module has changed",
            "Correct `omit` in toolchain/versions.yaml.",
        )
    kept = [line for line in lines if not any(text in line for text in texts)]
    file.write_text("".join(kept), encoding="utf-8")


def _run(
    command: list[str], folder: Path, environment: dict[str, str], group: str, progress: Progress
) -> None:
    """Run `go build -v`, which names each package it compiles: that is the progress."""
    begun = reported = time.monotonic()
    compiled = 0
    last: collections.deque[str] = collections.deque(maxlen=15)
    progress.update(group, "building from Go modules")
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stderr or ():
                last.append(line.rstrip())
                compiled += 1
                if time.monotonic() - reported > _REPORT_SECONDS:
                    reported = time.monotonic()
                    progress.update(
                        group, f"building from Go modules: {compiled} packages, {reported - begun:.0f} s"
                    )
        except BaseException:
            process.terminate()  # interrupted: no compiler stays behind
            raise
    if process.returncode != 0:
        raise BuildError(
            f"building {group} failed (go build ended with {process.returncode})",
            "\n".join(last) or "it said nothing",
            "Check disk, memory and the Go module proxy, then run again: it continues where it was.",
        )
