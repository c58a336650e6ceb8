"""What a host's earlier life left in its cgroups does not outlive it; what is in use stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.hosts import cgroups


def test_groups_of_an_earlier_life_go_and_the_hosts_own_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    dead = tmp_path / "memory/pacs-dc1/kubepods/burstable/pod1/container"
    used = tmp_path / "memory/pacs-dc1/system.slice"
    other = tmp_path / "memory/pacs-yanchang/kubepods"
    for group in (dead, used, other):
        group.mkdir(parents=True)
    (used / "cgroup.procs").touch()  # a cgroup with processes cannot be removed either
    cgroups.clear("dc1")
    assert not (tmp_path / "memory/pacs-dc1/kubepods").exists()
    assert used.is_dir()
    assert other.is_dir()


def test_the_processes_of_a_host_are_those_of_its_containers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    for group, listed in {
        "pids/pacs-dc1": "10\n0\n", "pids/pacs-dc1/kubepods/pod1/container": "11\n12\n",
        "memory/pacs-dc1": "10\n", "pids/pacs-dc11": "13\n",
    }.items():  # fmt: skip
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / "cgroup.procs").write_text(listed)
    assert cgroups.processes("dc1") == {10, 11, 12}
    assert cgroups.processes("nowhere") == set()
