"""The local stack from `up` to `down`, in this order: each test stands on the one before."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.engine.workspace import Layout
from tests.region.conftest import document, kubectl, on_host, pacs
from tests.region.disclosure import CommandLines, files_with_any, needles
from tests.region.interruption import kill_ups, leftovers, new_temporary_files
from tests.scale import SCALE

pytestmark = [pytest.mark.region, pytest.mark.timeout(1800 * SCALE)]

# What the README promises of `up`: from nothing, with everything in the cache, and on a region that stands.
FIRST_SECONDS, CACHED_SECONDS, SECOND_SECONDS = 45 * 60, 10 * 60, 3 * 60

CONTAINERD = "/etc/containerd/config.toml"


def test_every_part_of_the_region_is_healthy(region: dict[str, Any]) -> None:
    assert {part["part"]: part["state"] for part in region["parts"] if part["state"] != "healthy"} == {}
    assert region["outputs"]["branches"] == {"yanchang": "applied"}


def test_the_first_up_ends_within_the_promised_time(region: dict[str, Any]) -> None:
    assert region["seconds"] <= (FIRST_SECONDS if region["built"] else CACHED_SECONDS)


def test_real_images_travel_from_a_modality_at_the_branch_to_a_web_client_at_the_centre(
    verified: subprocess.CompletedProcess[str],
) -> None:
    assert verified.returncode == 0, verified.stdout[-4000:] + verified.stderr[-2000:]


def test_a_second_up_changes_nothing_and_every_play_really_ran(region: dict[str, Any]) -> None:
    again = document(pacs("up", "--json"))
    assert again["changed"] == 0
    assert {play["play"] for play in again["plays"]} >= {
        "datacenter",
        "branch-yanchang-node",
        "branch-yanchang",
    }
    assert sum(play["changed"] for play in again["plays"]) == 0
    assert again["seconds"] <= SECOND_SECONDS


def test_what_was_altered_by_hand_shows_in_plan_and_up_repairs_exactly_that(region: dict[str, Any]) -> None:
    before = on_host("dc1", f"cat {CONTAINERD}")
    on_host("dc1", f"echo '# by hand' >> {CONTAINERD}")
    kubectl("--namespace=pacs", "scale", "deployment/gateway", "--replicas=0")
    planned = document(pacs("plan", "--json"))
    touched = {step["resource"] for step in planned["steps"]}
    assert any("datacenter" in resource for resource in touched)
    assert any("gateway" in resource for resource in touched)
    assert len(touched) == 2, touched
    with CommandLines() as lines:
        repaired = document(pacs("up", "--json"))
    assert repaired["changed"] == 2
    # An `up` that repairs runs pulumi, plays and ssh: no process of any of them is given a secret to show.
    assert lines.with_any(needles(Layout("local").secrets)) == []
    assert on_host("dc1", f"cat {CONTAINERD}") == before
    assert (
        kubectl("--namespace=pacs", "get", "deployment/gateway", "--output=jsonpath={.spec.replicas}") == "1"
    )


def test_no_secret_stands_in_clear_in_the_state_or_the_logs(region: dict[str, Any]) -> None:
    state = Path("/var/lib/pacs/local")
    pieces = needles(state / "secrets") | {"BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", "client-key-data"}
    assert files_with_any(pieces, state / "pulumi", state / "logs") == []
    assert files_with_any(pieces, state / "secrets"), "the control found no secret where they all are"


def test_images_are_there_after_a_down_that_keeps_data_and_an_up_that_was_killed_again_and_again(
    region: dict[str, Any],
) -> None:
    listed = "find /var/lib/pacs/packs -name '*.pack' | sort"
    before = on_host("yanchang", listed)
    assert before
    assert pacs("down", "--keep-data").returncode == 0
    kill_ups(3 * SCALE)
    document(pacs("up", "--json"))
    assert leftovers(Layout("local")) == []
    assert on_host("yanchang", listed) == before
    done = pacs("verify", "--json")
    assert done.returncode == 0, done.stdout[-4000:]


def test_down_leaves_nothing_on_the_machine(region: dict[str, Any]) -> None:
    rules = _nft()
    done = pacs("down")
    assert done.returncode == 0, done.stderr
    namespaces = json.loads(_run("ip", "-json", "netns", "list") or "[]")
    assert not [entry["name"] for entry in namespaces if entry["name"].startswith("pacs-")]
    assert not [
        link["ifname"] for link in json.loads(_run("ip", "-json", "link")) if link["ifname"] == "pacs0"
    ]
    assert "/var/lib/pacs" not in _run("losetup", "--all")
    assert "/var/lib/pacs" not in Path("/proc/mounts").read_text(encoding="utf-8")
    assert not list(Path("/sys/fs/cgroup").glob("*/pacs-*"))
    assert not Path("/var/lib/pacs/local").exists()
    assert new_temporary_files() == []
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _exists(path)]
    assert not [command for command in commands if b"/var/lib/pacs/local" in command]
    assert _nft() == rules


def _exists(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def _nft() -> str:
    return _run("nft", "list", "ruleset")


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
