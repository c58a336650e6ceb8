"""A build keeps its temporary files in the cache, and removes those of a killed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.build import build
from toolchain.errors import BuildError
from toolchain.progress import Silent
from toolchain.versions import Tool, Versions, architecture

GO = """#!/bin/sh
[ "$1" = version ] && echo go version go1.26.8 && exit
echo "$GOTMPDIR" > "{notes}/gotmpdir"
test -d "$GOTMPDIR" || exit 3
echo vendor.test/demo >&2
{ends}
"""


def versions() -> tuple[Tool, Versions]:
    pinned = Versions.model_validate(
        {
            "go": {"version": "1.26.8", "sum": {architecture(): "h1:" + "A" * 43 + "="}},
            "tools": {
                "etcd": {
                    "version": "1.2.3",
                    "binaries": ["etcd"],
                    "build": {"module": "vendor.test/demo", "package": "."},
                }
            },
            "manifests": {},
        }
    )
    return pinned.tools["etcd"], pinned


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path / "cache"


def compiler(tmp_path: Path, ends: str) -> None:
    path = tmp_path / "bin/go"
    path.write_text(GO.format(notes=tmp_path, ends=ends), encoding="utf-8")
    path.chmod(0o755)


def test_temporary_files_lie_in_the_cache_and_end_with_the_build(tmp_path: Path, cache: Path) -> None:
    compiler(tmp_path, "exit 0")
    left = cache / "go/tmp/etcd-of-a-killed-build"
    left.mkdir(parents=True)
    build("etcd", *versions(), tmp_path, Silent())
    used = Path((tmp_path / "gotmpdir").read_text(encoding="utf-8").strip())
    assert cache / "go/tmp" in used.parents
    assert list((cache / "go/tmp").iterdir()) == []


def test_a_build_that_fails_says_what_the_compiler_said(tmp_path: Path, cache: Path) -> None:
    compiler(tmp_path, "echo undefined: frobnicate >&2; exit 1")
    with pytest.raises(BuildError, match="building etcd failed") as caught:
        build("etcd", *versions(), tmp_path, Silent())
    assert "undefined: frobnicate" in caught.value.why
    assert "continues where it was" in caught.value.action
