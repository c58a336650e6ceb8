from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from infra.providers.play_process import Recorder, environment, inventory_of, known_hosts, message_of
from infra.providers.play_run import PlayReport, PlayRequest

SECRET = "open-sesame-4711"


def host(**changes: Any) -> dict[str, Any]:
    return {
        "name": "dc1",
        "groups": ["datacenter", "storage"],
        "address": "10.90.0.11",
        "user": "root",
        "port": 22,
        "key": "/state/secrets/ssh_key",
        "host_key": "ssh-ed25519 AAAA",
        "variables": {"ceph_device_paths": ["/dev/loop0"]},
    } | changes


def request(tmp_path: Path, **changes: Any) -> PlayRequest:
    values: dict[str, Any] = {
        "name": "t",
        "playbook": str(tmp_path / "play.yml"),
        "hosts": [host(connection="local", groups=["datacenter"])],
        "variables": {"target": str(tmp_path / "target"), "secret": SECRET},
        "state_dir": tmp_path / "state",
    }
    return PlayRequest(**(values | changes))


def test_a_host_is_in_its_groups_with_its_own_variables(tmp_path: Path) -> None:
    inventory = inventory_of(
        request(tmp_path, hosts=[host(), host(name="dc2", groups=["datacenter"])]), tmp_path
    )
    assert set(inventory["all"]["children"]["datacenter"]["hosts"]) == {"dc1", "dc2"}
    assert set(inventory["all"]["children"]["storage"]["hosts"]) == {"dc1"}
    variables = inventory["all"]["hosts"]["dc1"]
    assert variables["ceph_device_paths"] == ["/dev/loop0"]
    assert variables["ansible_host"] == "10.90.0.11"


def test_ssh_takes_only_the_host_key_that_the_provider_saw(tmp_path: Path) -> None:
    variables = inventory_of(request(tmp_path, hosts=[host()]), tmp_path)["all"]["hosts"]["dc1"]
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    hosts = [host(), host(address="10.90.0.12", port=2222), host(name="pending", host_key="")]
    assert known_hosts(hosts) == ["10.90.0.11 ssh-ed25519 AAAA\n", "[10.90.0.12]:2222 ssh-ed25519 AAAA\n"]


def test_an_operator_account_becomes_root_and_root_does_not(tmp_path: Path) -> None:
    for user, become in (("root", False), ("operator", True)):
        hosts = inventory_of(request(tmp_path, hosts=[host(user=user)]), tmp_path)["all"]["hosts"]
        assert hosts["dc1"]["ansible_become"] is become


def test_the_machines_own_ansible_settings_do_not_count(tmp_path: Path) -> None:
    assert environment(tmp_path)["ANSIBLE_CONFIG"] == str(tmp_path / "ansible.cfg")


@pytest.mark.parametrize(
    "result", [{"censored": "x", "msg": SECRET}, {"_ansible_no_log": True, "msg": SECRET}]
)
def test_the_message_of_a_task_with_secrets_is_withheld(result: dict[str, Any]) -> None:
    assert SECRET not in message_of(result)


def test_a_long_message_is_cut_to_its_end() -> None:
    assert message_of({"msg": "x" * 9999 + " disk full"}).endswith("disk full")
    assert len(message_of({"msg": "x" * 9999})) == 500


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": "dc1", "task": "Configure", **data}}


def recorded(tmp_path: Path, *events: dict[str, Any]) -> tuple[PlayReport, list[dict[str, Any]]]:
    report, log, lines = PlayReport(), io.StringIO(), io.StringIO()
    recorder = Recorder(request(tmp_path), report, log, lines)
    for each in events:
        recorder.handle(each)
    return report, [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_task_that_changed_nothing_is_not_in_the_report(tmp_path: Path) -> None:
    report, _ = recorded(tmp_path, event("runner_on_ok", res={"changed": False}))
    assert report.changed == []


def test_a_task_that_changed_something_is_in_the_report_and_in_the_events(tmp_path: Path) -> None:
    report, lines = recorded(tmp_path, event("runner_on_ok", res={"changed": True, "msg": SECRET}))
    assert report.changed == ["dc1: Configure"]
    assert lines[0]["event"] == "changed"
    assert SECRET not in json.dumps(lines)


def test_a_change_hidden_by_no_log_is_counted_from_the_totals(tmp_path: Path) -> None:
    censored = event("runner_on_ok", res={"censored": "x"})
    report, _ = recorded(tmp_path, censored, event("playbook_on_stats", changed={"dc1": 1}))
    assert report.changed == ["dc1: 1 task(s) whose output is withheld"]


def test_a_failure_that_the_play_ignores_is_not_a_failure(tmp_path: Path) -> None:
    report, _ = recorded(tmp_path, event("runner_on_failed", ignore_errors=True, res={"msg": "x"}))
    assert report.failed == []


def test_failed_and_unreachable_hosts_are_told_apart(tmp_path: Path) -> None:
    failed = event("runner_on_failed", res={"msg": "no room"})
    report, _ = recorded(tmp_path, failed, event("runner_on_unreachable", res={"msg": "timed out"}))
    assert report.failed == ["dc1: Configure: no room"]
    assert report.unreachable == ["dc1: Configure: timed out"]
