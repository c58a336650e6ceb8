from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from bench import peers
from bench.peers import NEWEST, STABLE, Peers, obtain
from toolchain import rootfs
from toolchain.errors import ToolchainError
from toolchain.progress import Progress, Silent


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *suites: str) -> list[str]:
    """Only `suites` can be had; returns those that were asked for."""
    asked: list[str] = []
    (tmp_path / "wrk").write_text("a program")

    def ensure(recipe: rootfs.RootFilesystem, progress: Progress | None = None) -> Path:
        if recipe is not rootfs.CEPH:
            asked.append(recipe.suite)
        if recipe is not rootfs.CEPH and recipe.suite not in suites:
            raise ToolchainError(
                "mmdebstrap failed", "E: Version '1.13.0' for 'orthanc' was not found", "Try again."
            )
        tar = tmp_path / f"{recipe.suite}.tar"
        with tarfile.open(tar, "w") as file:
            file.add(tmp_path / "wrk", "./usr/bin/wrk")
            file.add(tmp_path / "wrk", "./dev/null")
        return tar

    monkeypatch.setattr(peers.rootfs, "ensure", ensure)
    return asked


def test_the_newest_is_taken_and_unpacked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = serve(monkeypatch, tmp_path, "sid", "trixie")
    found = obtain(Silent())
    assert obtain(Silent()) == found
    assert (found.suite, asked) == ("sid", ["sid"])
    assert json.loads((found.root / "unpacked.json").read_text()) == {"suite": "sid"}
    assert not (found.root / "dev/null").exists()


def test_where_the_pinned_version_is_gone_the_stable_suite_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, tmp_path, "trixie")
    assert obtain(Silent()).suite == "trixie"


def test_where_nothing_can_be_had_it_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    serve(monkeypatch, tmp_path)
    with pytest.raises(ToolchainError, match="was not found"):
        obtain(Silent())
    assert list((cache / "bench").glob("*.part")) == []


def test_a_program_runs_with_the_loader_and_libraries_of_its_root(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/wrk").touch()
    command = Peers(tmp_path, "sid").command("wrk", "-t", "1")
    assert command[0] == f"{tmp_path}/lib64/ld-linux-x86-64.so.2"
    assert command[-3:] == [f"{tmp_path}/usr/bin/wrk", "-t", "1"]


def test_a_program_or_plugin_that_the_root_lacks_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="no program nothing"):
        Peers(tmp_path, "sid").command("nothing")
    with pytest.raises(ToolchainError, match="plugin OrthancX is missing"):
        Peers(tmp_path, "sid").plugin("OrthancX")


def test_the_newest_orthanc_is_pinned_and_the_other_is_of_a_suite_that_stays() -> None:
    assert all("=" in package for package in NEWEST.packages if package.startswith(("orthanc", "dcmtk")))
    assert STABLE.suite == "trixie"
