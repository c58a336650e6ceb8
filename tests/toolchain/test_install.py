"""The installer's order, and that a killed or failed run leaves a complete directory or none."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from toolchain import install
from toolchain.download import Downloads
from toolchain.errors import BuildError, ChecksumError, DownloadError, ToolchainError
from toolchain.progress import Silent
from toolchain.versions import Tool, Versions

URL = "https://vendor.test/demo-v1.2.3.tar.gz"


class Recorder:
    """Progress that remembers its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, item: str, doing: str) -> None:
        self.lines.append(f"{item}: {doing}")

    def done(self, item: str, result: str) -> None:
        self.lines.append(f"{item} = {result}")


def archive(*members: tuple[str, bytes]) -> bytes:
    """A .tar.gz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tool(**changes: Any) -> Tool:
    document: dict[str, Any] = {
        "version": "1.2.3",
        "binaries": ["demo"],
        "release": {
            "url": "https://vendor.test/demo-v{version}.tar.gz",
            "checksums": "https://vendor.test/SHA256SUMS",
            "members": {"demo": "demo-{version}/demo"},
        },
        "build": {"module": "vendor.test/demo"},
    }
    return Tool.model_validate(document | changes)


def pinned(**changes: Any) -> Versions:
    go = {"version": "1.26.0", "sum": {}}
    return Versions.model_validate({"go": go, "tools": {"demo": tool(**changes)}, "manifests": {}})


class Vendor:
    """The vendor's server as a transport; None is a machine without internet."""

    def __init__(self, content: bytes | None, sums: str | None = None) -> None:
        self.content = content
        self.sums = sums
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if self.content is None:
            raise httpx.ConnectError("no route to host")
        if request.url.path == "/SHA256SUMS":
            digest = hashlib.sha256(self.content).hexdigest()
            return httpx.Response(200, text=self.sums or f"{digest}  demo-v1.2.3.tar.gz\n")
        return httpx.Response(200, content=iter([self.content]))  # a stream, as from a socket


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and a PATH without any tool."""
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PACS_OFFLINE_RELEASES", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands for `go build`: writes the binary, and remembers that it was asked to."""
    done: list[str] = []

    def build(group: str, tool: Tool, versions: Versions, target: Path, progress: object) -> None:
        done.append(group)
        (target / "demo").write_bytes(b"built")
        (target / "demo").chmod(0o755)

    monkeypatch.setattr(install, "build", build)
    return done


def run(vendor: Vendor, versions: Versions, recorder: Recorder | None = None) -> Path:
    with Downloads(
        install.cache_directory() / "downloads", transport=httpx.MockTransport(vendor)
    ) as downloads:
        return install.Installation(versions, downloads, recorder or Silent()).group("demo")


def origin(directory: Path) -> str:
    return str(json.loads((directory / "origin.json").read_text(encoding="utf-8"))["origin"])


def test_a_release_that_the_vendor_vouches_for_is_taken(builds: list[str]) -> None:
    directory = run(Vendor(archive(("demo-1.2.3/demo", b"released"))), pinned())
    assert (directory / "demo").read_bytes() == b"released"
    assert os.access(directory / "demo", os.X_OK)
    assert origin(directory) == "official release, vendor.test"
    assert builds == []


def test_what_is_cached_is_neither_downloaded_nor_built_again(builds: list[str]) -> None:
    run(Vendor(None), pinned())
    vendor, recorder = Vendor(None), Recorder()
    run(vendor, pinned(), recorder)
    assert builds == ["demo"]
    assert vendor.asked == []
    assert recorder.lines == ["demo = 1.2.3, cached"]


def test_without_internet_the_modules_are_built(builds: list[str]) -> None:
    recorder = Recorder()
    directory = run(Vendor(None), pinned(), recorder)
    assert (directory / "demo").read_bytes() == b"built"
    assert "demo: no release: vendor.test cannot be reached" in recorder.lines
    assert recorder.lines[-1] == "demo = 1.2.3, built from vendor.test/demo"


def test_releases_can_be_switched_off(builds: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACS_OFFLINE_RELEASES", "1")
    vendor = Vendor(archive(("demo-1.2.3/demo", b"released")))
    run(vendor, pinned())
    assert vendor.asked == []
    assert builds == ["demo"]


def test_a_corrupt_release_stops_the_run_instead_of_being_built_around(
    builds: list[str], cache: Path
) -> None:
    vendor = Vendor(archive(("demo-1.2.3/demo", b"altered")), sums=f"{'0' * 64}  demo-v1.2.3.tar.gz\n")
    with pytest.raises(ChecksumError, match="corrupt"):
        run(vendor, pinned())
    assert builds == []
    assert list((cache / "tools" / "demo").iterdir()) == []


def test_an_archive_without_the_binary_names_what_is_wrong(builds: list[str]) -> None:
    with pytest.raises(DownloadError, match=r"holds no demo-1\.2\.3/demo"):
        run(Vendor(archive(("elsewhere/demo", b"x"))), pinned())


def test_members_that_nobody_asked_for_stay_in_the_archive(builds: list[str], tmp_path: Path) -> None:
    content = archive(("../../evil", b"x"), ("demo-1.2.3/demo", b"released"))
    directory = run(Vendor(content), pinned())
    assert sorted(path.name for path in directory.iterdir()) == ["demo", "origin.json"]
    assert not list(tmp_path.rglob("evil"))


def test_a_failed_build_leaves_nothing(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def build(group: str, tool: Tool, versions: Versions, target: Path, progress: object) -> None:
        (target / "half").write_bytes(b"x")
        raise BuildError("building demo failed", "no space left", "Free some.")

    monkeypatch.setattr(install, "build", build)
    with pytest.raises(BuildError):
        run(Vendor(None), pinned())
    assert list((cache / "tools" / "demo").iterdir()) == []


def test_a_build_without_its_binary_is_not_installed(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(install, "build", lambda *_: None)
    with pytest.raises(ToolchainError, match="came without demo"):
        run(Vendor(None), pinned())
    assert list((cache / "tools" / "demo").iterdir()) == []


def test_the_remains_of_a_killed_run_are_cleared(builds: list[str], cache: Path) -> None:
    left = cache / "tools" / "demo" / ".new-killed"
    left.mkdir(parents=True)
    run(Vendor(None), pinned())
    assert not left.exists()


def on_path(tmp_path: Path, says: str) -> None:
    program = tmp_path / "bin" / "demo"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho 'demo version {says}'\n", encoding="utf-8")
    program.chmod(0o755)


def test_the_right_version_on_path_is_used(builds: list[str], tmp_path: Path) -> None:
    on_path(tmp_path, "v1.2.3")
    vendor = Vendor(None)
    directory = run(vendor, pinned(on_path={"demo": ["version"]}))
    assert (directory / "demo").resolve() == (tmp_path / "bin" / "demo").resolve()
    assert (builds, vendor.asked) == ([], [])


@pytest.mark.parametrize("says", ["v1.2.4", "v1.2.30", "unknown"])
def test_another_version_on_path_is_not_used(says: str, builds: list[str], tmp_path: Path) -> None:
    on_path(tmp_path, says)
    assert origin(run(Vendor(None), pinned(on_path={"demo": ["version"]}))).startswith("built")


def test_a_tool_that_hosts_and_images_get_is_never_taken_from_path(builds: list[str], tmp_path: Path) -> None:
    on_path(tmp_path, "v1.2.3")
    assert origin(run(Vendor(None), pinned())).startswith("built")


def test_two_runs_fill_the_cache_one_after_the_other(cache: Path) -> None:
    recorder = Recorder()
    entered, told = threading.Event(), threading.Event()
    recorder.update = lambda item, doing: told.set()  # type: ignore[method-assign,assignment]

    def second() -> None:
        with install.installing(recorder):
            entered.set()

    with install.installing(Silent()):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(5), "the second run does not say that it waits"
        assert not entered.is_set()
    thread.join(5)
    assert entered.is_set()
    with (cache / "toolchain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_that_finds_everything_waits_for_nobody_and_leaves_the_builder_its_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "versions", pinned)
    (cache / "go/build").mkdir(parents=True)
    for group in pinned().tools:
        directory = install.group_directory(group, pinned())
        directory.mkdir(parents=True)
        (directory / "demo").touch(0o755)
    with install.installing(Silent()):
        assert install.ensure(None, Silent()).binaries
        install.drop_build_cache()
    assert (cache / "go/build").is_dir()


def test_our_tools_come_first_on_the_search_path(tmp_path: Path) -> None:
    tools = install.Toolset(
        {"a": tmp_path / "one" / "a", "b": tmp_path / "two" / "b", "c": tmp_path / "one" / "c"}
    )
    assert tools.search_path("/usr/bin") == f"{tmp_path}/one:{tmp_path}/two:/usr/bin"


def test_the_build_cache_goes_when_every_tool_is_there_and_not_before(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "versions", pinned)
    (cache / "go/build").mkdir(parents=True)
    install.drop_build_cache()
    assert (cache / "go/build").is_dir()
    for group in pinned().tools:
        install.group_directory(group, pinned()).mkdir(parents=True)
    install.drop_build_cache()
    assert not (cache / "go/build").exists()
