"""The Go that builds the tools: this machine's own, or the Go project's toolchain module in the cache.

Debian 12 has Go 1.19, too old to build with but able to fetch `golang.org/toolchain` like any other
module: the module proxy serves it, the checksum database vouches for it, and versions.yaml pins its hash.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from toolchain import debian
from toolchain.errors import GoError, PackageError
from toolchain.paths import cache_directory
from toolchain.progress import Progress
from toolchain.versions import Versions, architecture

_VERSION = re.compile(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?")


def environment(cache: Path | None = None) -> dict[str, str]:
    """The environment of every go command: our caches, no toolchain switching, nothing of the user's flags.

    GOPROXY, GOPRIVATE and the like stay: a site's module mirror is the site's decision.
    """
    home = (cache or cache_directory()) / "go"
    kept = {name: value for name, value in os.environ.items() if name not in {"GOROOT", "GOBIN"}}
    return kept | {
        "GOPATH": str(home),
        "GOMODCACHE": str(home / "mod"),
        "GOCACHE": str(home / "build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        # A compiler lives for seconds: it collects no garbage before it has its share of the memory.
        "GOGC": "off",
        "GOMEMLIMIT": str(compiler_memory()),
    }


def compiler_memory() -> int:
    """Bytes that one compiler may fill: as many run as there are processors, and half the memory is others'."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(memory // (2 * (os.cpu_count() or 1)), 1 << 29)


def ensure(versions: Versions, progress: Progress) -> Path:
    """A go command of at least the pinned version, fetched into the cache if need be. Raises GoError."""
    wanted = versions.go.version
    own = shutil.which("go")
    if own and is_recent(Path(own), wanted):
        return Path(own)
    cached = _cached(versions)
    if os.access(cached, os.X_OK):
        return cached
    progress.update("go", f"fetching Go {wanted} as a module")
    _fetch(versions, own or _debian_go(progress))
    progress.done("go", f"{wanted}, module golang.org/toolchain")
    return cached


def is_recent(go: Path, wanted: str) -> bool:
    """Whether this go command runs and is at least version `wanted`."""
    try:
        answer = subprocess.run(
            [str(go), "version"], env=environment(), capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = _VERSION.search(answer.stdout)
    if answer.returncode != 0 or not found:
        return False
    return tuple(int(part or 0) for part in found.groups()) >= tuple(int(part) for part in wanted.split("."))


def _module(versions: Versions) -> str:
    return f"golang.org/toolchain@v0.0.1-go{versions.go.version}.linux-{architecture()}"


def _cached(versions: Versions) -> Path:
    return cache_directory() / "go" / "mod" / _module(versions) / "bin" / "go"


def _debian_go(progress: Progress) -> str:
    try:
        debian.install(["golang-go"], progress)
    except PackageError as error:
        raise GoError(
            "Go is missing and could not be installed",
            error.why,
            "Install the Debian package golang-go, or Go itself from https://go.dev/dl/, and run again.",
        ) from error
    found = shutil.which("go", path="/usr/bin:/usr/local/bin:/usr/local/go/bin")
    if not found:
        raise GoError("Go is missing", "golang-go installed no go command", "Install Go and run again.")
    return found


def _fetch(versions: Versions, any_go: str) -> None:
    pinned = versions.go.sum.get(architecture())
    if pinned is None:
        raise GoError(
            f"no Go {versions.go.version} is pinned for {architecture()}",
            "versions.yaml has no go.sum hash for this architecture",
            f"Install Go {versions.go.version} or newer, put it on PATH, and run again.",
        )
    answer = subprocess.run(
        [any_go, "mod", "download", "-json", _module(versions)],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    try:
        found = json.loads(answer.stdout)
    except json.JSONDecodeError:
        found = {"Error": answer.stderr.strip() or "no answer"}
    if found.get("Sum") != pinned:
        raise GoError(
            f"Go {versions.go.version} could not be fetched from the Go module proxy",
            str(found.get("Error") or f"its hash is {found.get('Sum')}, versions.yaml pins {pinned}"),
            f"Install Go {versions.go.version} or newer, put it on PATH, and run again.",
        )
    # A module's files are stored without execute permission.
    home = Path(found["Dir"])
    tools = [file for file in (home / "pkg" / "tool").rglob("*") if file.is_file()]
    for program in [*tools, home / "bin" / "gofmt", home / "bin" / "go"]:  # `go` last: it says all is done
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
