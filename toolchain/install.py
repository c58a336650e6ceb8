"""Bring the tools into the cache: PATH, cache, official release, build - in that order.

Each group ends as one directory `tools/<group>/<key>/`, made under another name and renamed, so that
it is complete or absent whenever the run is killed. `origin.json` in it says where the files came from.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from toolchain.build import build
from toolchain.download import Downloads, file_sha256
from toolchain.errors import DownloadError, ToolchainError, UnreachableError
from toolchain.paths import cache_directory
from toolchain.progress import Progress, Silent
from toolchain.versions import Release, Tool, Versions, cache_key, expand, versions

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")


@dataclass(frozen=True)
class Toolset:
    """Where each binary lies."""

    binaries: dict[str, Path]

    def __getitem__(self, binary: str) -> Path:
        return self.binaries[binary]

    def search_path(self, inherited: str | None = None) -> str:
        """A PATH on which our tools come first."""
        directories = dict.fromkeys(str(path.parent) for path in self.binaries.values())
        rest = os.environ.get("PATH", "") if inherited is None else inherited
        return os.pathsep.join([*directories, *([rest] if rest else [])])


def ensure(groups: Iterable[str] | None = None, progress: Progress | None = None) -> Toolset:
    """Bring `groups` (by default all but the optional ones) into the cache; return every binary's path.

    Raises ToolchainError.
    """
    pinned = versions()
    watch = progress or Silent()
    found: dict[str, Path] = {}
    wanted = list(groups or pinned.usual)
    complete = all(group_directory(group, pinned).is_dir() for group in wanted)
    # Reading what is complete needs no turn: another checkout may build for minutes.
    turn = contextlib.nullcontext() if complete else installing(watch)
    with turn, Downloads(cache_directory() / "downloads") as downloads:
        for group in wanted:
            found |= _programs(Installation(pinned, downloads, watch).group(group))
    return Toolset(found)


def drop_build_cache() -> None:
    """Remove the compiler's intermediate files (some 15 GiB) once every tool is there.

    They serve an interrupted build only; while another checkout builds they stay.
    """
    pinned, build_cache = versions(), cache_directory() / "go/build"
    if build_cache.is_dir() and all(group_directory(group, pinned).is_dir() for group in pinned.usual):
        with _cache_lock() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(build_cache)


def installed(groups: Iterable[str] | None = None) -> Toolset:
    """The tools that are in the cache already. Raises ToolchainError where one is not."""
    pinned = versions()
    found: dict[str, Path] = {}
    for group in groups or pinned.usual:
        directory = group_directory(group, pinned)
        if not directory.is_dir():
            raise ToolchainError(
                f"the tools of {group} are not installed",
                f"{directory} does not exist",
                "Run ./pacs up, which installs them.",
            )
        found |= _programs(directory)
    return Toolset(found)


def group_directory(group: str, pinned: Versions) -> Path:
    """Where the cached files of `group` belong."""
    return cache_directory() / "tools" / group / cache_key(group, pinned.tools[group])


@contextlib.contextmanager
def installing(progress: Progress) -> Iterator[None]:
    """One writer of the cache at a time; a second run waits and says so. The lock ends with its process."""
    with _cache_lock() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.update("toolchain", "another run is filling the cache: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache_lock() -> IO[str]:
    cache_directory().mkdir(parents=True, exist_ok=True)
    return (cache_directory() / "toolchain.lock").open("w")


@dataclass(frozen=True)
class Installation:
    """One run over the groups: what is pinned, the downloads it shares, who watches."""

    pinned: Versions
    downloads: Downloads
    progress: Progress

    def group(self, group: str) -> Path:
        """The complete directory of `group`, made now if it is not cached."""
        tool = self.pinned.tools[group]
        target = group_directory(group, self.pinned)
        if target.is_dir():
            self.progress.done(group, f"{tool.version}, cached")
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(".new-*"):
            shutil.rmtree(left)  # of a killed run; the lock says nobody else is here
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            origin = self._obtain(group, tool, scratch)
            _check(group, tool, scratch)
            digests = {path.name: file_sha256(path) for path in sorted(scratch.iterdir())}
            document = {"version": tool.version, "origin": origin, "sha256": digests}
            (scratch / "origin.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            scratch.chmod(0o755)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        self.progress.done(group, f"{tool.version}, {origin}")
        return target

    def _obtain(self, group: str, tool: Tool, target: Path) -> str:
        """Fill `target` from the first source that has the group; return which one it was."""
        self.progress.update(group, "looking on PATH")
        if _from_path(tool, target):
            return "from PATH"
        if tool.release and os.environ.get("PACS_OFFLINE_RELEASES") != "1":
            try:
                self._from_release(group, tool, tool.release, target)
            except UnreachableError as error:
                self.progress.update(group, f"no release: {error.what}")
                for half in target.iterdir():
                    half.unlink()
            else:
                return f"official release, {urlsplit(tool.release.url).netloc}"
        build(group, tool, self.pinned, target, self.progress)
        return f"built from {tool.build.module}"

    def _from_release(self, group: str, tool: Tool, release: Release, target: Path) -> None:
        """Download, verify and unpack. Raises UnreachableError or ChecksumError."""

        def fetch(**names: str) -> Path:
            url = expand(release.url, tool.version, **names)
            checksums = expand(release.checksums, tool.version, **names)
            sha256 = self.downloads.vendor_checksum(checksums, Path(urlsplit(url).path).name)
            return self.downloads.fetch(url, sha256, report)

        def report(have: int, total: int | None) -> None:
            of = f" of {total >> 20}" if total else ""
            self.progress.update(group, f"downloading {have >> 20}{of} MiB")

        if release.members:
            members = {binary: expand(inner, tool.version) for binary, inner in release.members.items()}
            unpack(fetch(), members, target)
            return
        for binary in tool.binaries:
            shutil.copyfile(fetch(binary=binary), target / binary)
            (target / binary).chmod(0o755)


def _from_path(tool: Tool, target: Path) -> bool:
    """Link the group's binaries from PATH where every one is there and the asked one says our version."""
    found = {binary: shutil.which(binary) for binary in tool.binaries}
    if not tool.on_path or not all(found.values()):
        return False
    for binary, arguments in tool.on_path.items():
        if _says_version([str(found[binary]), *arguments]) != tool.version:
            return False
    for binary, path in found.items():
        (target / binary).symlink_to(Path(str(path)).resolve())
    return True


def _says_version(command: Sequence[str]) -> str | None:
    environment = os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stdout)
    return match.group(1) if answer.returncode == 0 and match else None


def unpack(archive: Path, members: dict[str, str], target: Path) -> None:
    """Take the named members, and nothing else, out of a tar archive. Raises DownloadError."""
    try:
        with tarfile.open(archive) as tar:
            by_name = {member.name.removeprefix("./"): member for member in tar.getmembers()}
            for binary, inner in members.items():
                source = tar.extractfile(by_name[inner]) if inner in by_name else None
                if source is None:
                    raise DownloadError(
                        f"{archive.name} holds no {inner}",
                        "the project changed the layout of its release",
                        "Correct `members` in toolchain/versions.yaml.",
                    )
                with source, (target / binary).open("wb") as file:
                    shutil.copyfileobj(source, file)
                (target / binary).chmod(0o755)
    except tarfile.TarError as error:
        raise DownloadError(
            f"{archive.name} cannot be unpacked", str(error), f"Delete {archive} and run again."
        ) from error


def _programs(directory: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(directory.iterdir()) if os.access(path, os.X_OK)}


def _check(group: str, tool: Tool, directory: Path) -> None:
    absent = [binary for binary in tool.binaries if not os.access(directory / binary, os.X_OK)]
    if absent:
        raise ToolchainError(
            f"{group} {tool.version} came without {', '.join(absent)}",
            "versions.yaml lists them as its binaries",
            "Correct `binaries` or the group's source in toolchain/versions.yaml.",
        )
