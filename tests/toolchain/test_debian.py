"""debian.txt and the package manager's words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolchain import debian
from toolchain.errors import PackageError, VersionsError
from toolchain.progress import Silent


@pytest.mark.parametrize("section", ["up", "test", "integration"])
def test_every_section_lists_packages_once_and_in_order(section: str) -> None:
    packages = debian.listed(section)
    assert packages
    assert packages == sorted(set(packages))


def test_every_package_says_why_it_is_needed() -> None:
    lines = (debian.TOOLCHAIN / "debian.txt").read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if line and not line.startswith(("#", "[")) and "#" not in line]
    assert [line for line in bare if not line.startswith("ceph-")] == []


@pytest.mark.parametrize("text", ["[up]\ntwo words\n", "before\n[up]\n"])
def test_a_line_that_is_not_one_package_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "debian.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(VersionsError, match="line"):
        debian.listed("up", file)


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    for name, text in ({"dpkg": "true"} | texts).items():
        path = tmp_path / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_what_is_configured_only_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "echo 'iproute2 installed'; echo 'nftables config-files'"
    programs(tmp_path, monkeypatch, dpkg_query=answer)
    assert debian.missing(["iproute2", "nftables", "xfsprogs"]) == ["nftables", "xfsprogs"]


def test_a_failed_installation_repeats_what_apt_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(
        tmp_path, monkeypatch, dpkg_query="true", apt_get="echo 'E: Unable to locate package x' >&2; exit 100"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_POLICY", tmp_path / "policy-rc.d")
    with pytest.raises(PackageError, match="Unable to locate package x") as told:
        debian.install(["x"], Silent())
    assert told.value.what == "apt-get update failed"
    assert told.value.action.startswith(
        "Check that Debian's archive (see /etc/apt/sources.list.d) can be reached"
    )
    assert not (tmp_path / "policy-rc.d").exists()


def test_no_service_starts_while_packages_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    programs(tmp_path, monkeypatch, dpkg_query="true", apt_get=f"[ -x {policy} ] && ! {policy}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_POLICY", policy)
    assert debian.install(["x"], Silent()) == ["x"]
    assert not policy.exists()


def test_a_policy_of_the_machine_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("the site's own", encoding="utf-8")
    programs(tmp_path, monkeypatch, dpkg_query="true", apt_get="true")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_POLICY", policy)
    debian.install(["x"], Silent())
    assert policy.read_text(encoding="utf-8") == "the site's own"


def test_an_installation_that_was_killed_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, told = tmp_path / "policy-rc.d", tmp_path / "told"
    policy.write_text(debian._POLICY_TEXT, encoding="utf-8")  # ours, left by the killed one
    dpkg = f'if [ "$1" = --audit ]; then echo "ceph-mgr is unpacked"; else echo "dpkg $*" >> {told}; fi'
    programs(tmp_path, monkeypatch, dpkg_query="true", dpkg=dpkg, apt_get=f'echo "apt-get $4" >> {told}')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "_POLICY", policy)
    debian.install(["x"], Silent())
    assert told.read_text().splitlines() == [
        "dpkg --configure --pending",
        "apt-get update",
        "apt-get install",
    ]
    assert not policy.exists()


def test_who_is_not_root_is_told_what_to_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, dpkg_query="true")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PackageError, match="apt-get install x"):
        debian.install(["x"], Silent())
