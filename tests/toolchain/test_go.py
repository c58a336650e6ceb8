"""Which Go builds the tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import go
from toolchain.errors import GoError
from toolchain.progress import Silent
from toolchain.versions import Versions, architecture

SUM = "h1:" + "A" * 43 + "="


def versions(**sums: str) -> Versions:
    return Versions.model_validate({"go": {"version": "1.26.8", "sum": sums}, "tools": {}, "manifests": {}})


def program(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "go"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("says", "recent"),
    [
        ("go version go1.26.8 linux/amd64", True),
        ("go version go1.27 linux/amd64", True),
        ("go version go1.26.10 linux/amd64", True),
        ("go version go1.26.7 linux/amd64", False),
        ("go version go1.19.8 linux/amd64", False),
        ("something else", False),
    ],
)
def test_versions_are_compared_as_numbers(says: str, recent: bool, tmp_path: Path) -> None:
    assert go.is_recent(program(tmp_path, f"echo '{says}'"), "1.26.8") is recent


def test_this_machines_go_is_used_where_it_is_recent(tmp_path: Path) -> None:
    own = program(tmp_path / "bin", "echo go version go1.26.8 linux/amd64")
    assert go.ensure(versions(), Silent()) == own


def test_an_old_go_fetches_the_pinned_one_and_its_programs_can_run(tmp_path: Path, cache: Path) -> None:
    home = cache / "go/mod" / f"golang.org/toolchain@v0.0.1-go1.26.8.linux-{architecture()}"
    program(
        tmp_path / "bin",
        f'[ "$1" = version ] && echo go version go1.19.8 && exit\n'
        f"mkdir -p {home}/bin {home}/pkg/tool/x\n"
        f"touch {home}/bin/go {home}/bin/gofmt {home}/pkg/tool/x/compile\n"
        f'echo \'{{"Dir": "{home}", "Sum": "{SUM}"}}\'',
    )
    found = go.ensure(versions(**{architecture(): SUM}), Silent())
    assert found == home / "bin/go"
    assert (home / "pkg/tool/x/compile").stat().st_mode & 0o100
    assert found.stat().st_mode & 0o100


def test_a_toolchain_with_another_hash_is_refused(tmp_path: Path) -> None:
    program(
        tmp_path / "bin",
        '[ "$1" = version ] && echo go version go1.19.8 && exit\n'
        'echo \'{"Dir": "/nowhere", "Sum": "h1:other"}\'',
    )
    with pytest.raises(GoError, match=r"h1:other.*pins"):
        go.ensure(versions(**{architecture(): SUM}), Silent())


def test_a_proxy_that_does_not_answer_says_what_to_do(tmp_path: Path) -> None:
    program(
        tmp_path / "bin",
        '[ "$1" = version ] && echo go version go1.19.8 && exit\necho "dial tcp: no route" >&2; exit 1',
    )
    with pytest.raises(GoError, match=r"no route.*put it on PATH") as told:
        go.ensure(versions(**{architecture(): SUM}), Silent())
    assert told.value.what.endswith("could not be fetched from the Go module proxy")
    assert told.value.exit_code == 3


def test_an_architecture_without_a_pinned_hash_is_refused_before_any_download(tmp_path: Path) -> None:
    program(
        tmp_path / "bin",
        '[ "$1" = version ] && echo go version go1.19.8 && exit\necho downloaded >&2; exit 1',
    )
    with pytest.raises(GoError, match=r"no Go 1\.26\.8 is pinned"):
        go.ensure(versions(), Silent())


def test_a_build_never_switches_toolchains_nor_leaves_the_cache(cache: Path) -> None:
    environment = go.environment()
    assert environment["GOTOOLCHAIN"] == "local"
    assert environment["CGO_ENABLED"] == "0"
    assert {environment["GOMODCACHE"], environment["GOCACHE"]} == {f"{cache}/go/mod", f"{cache}/go/build"}
