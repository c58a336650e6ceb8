from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulumi.dynamic.dynamic import serialize_provider

from cli.up import failed_branches
from infra.components.branch import branch_status
from infra.providers import ansible_play
from infra.providers.ansible_play import APPLIED, FAILED, PENDING, AnsiblePlayProvider, PlayError, role_digest
from infra.providers.host import HostResourceProvider
from infra.providers.play_results import PlayResultsProvider
from infra.providers.play_run import PlayReport, PlayRequest


class Plays:
    """Stands in for ansible-runner: answers each run with a prepared report, and keeps the requests."""

    def __init__(self, *reports: PlayReport) -> None:
        self.reports = list(reports)
        self.requests: list[PlayRequest] = []

    def __call__(self, request: PlayRequest) -> PlayReport:
        self.requests.append(request)
        return self.reports.pop(0)


def run(monkeypatch: pytest.MonkeyPatch, *reports: PlayReport) -> Plays:
    plays = Plays(*reports)
    monkeypatch.setattr(ansible_play, "run_play", plays)
    return plays


def props(state_dir: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "datacenter",
        "playbook": "playbooks/datacenter.yml",
        "hosts": [],
        "variables": {"a": 1},
        "secret_variables": {"b": "secret"},
        "role_digest": "1",
        "optional": False,
        "state_dir": str(state_dir),
    } | changes


@pytest.mark.parametrize("provider", [AnsiblePlayProvider, HostResourceProvider, PlayResultsProvider])
def test_a_pickled_provider_is_a_reference_and_the_same_in_every_run(provider: Any) -> None:
    once, again = serialize_provider(provider()), serialize_provider(provider())
    assert once == again
    assert len(once) < 200
    assert provider.serialize_as_secret_always is False


def test_an_applied_play_hands_its_inputs_back_with_no_drift(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plays = run(monkeypatch, PlayReport(changed=["dc1: x"]))
    outputs = AnsiblePlayProvider().create(props(tmp_path)).outs
    assert outputs == props(tmp_path) | {"status": APPLIED, "drift": []}
    assert plays.requests[0].check is False
    assert plays.requests[0].variables == {"a": 1, "b": "secret"}


def test_whole_numbers_reach_the_play_as_they_were_declared_and_keys_in_one_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plays = run(monkeypatch, PlayReport(changed=[]))
    carried = {"days": 7.0, "share": 0.5, "on": True, "list": [{"name": "a", "bytes": 1073741824.0}]}
    AnsiblePlayProvider().create(props(tmp_path, variables=carried, secret_variables={}))
    handed = plays.requests[0].variables
    assert repr({key: handed[key] for key in carried}) == repr(
        {"days": 7, "share": 0.5, "on": True, "list": [{"bytes": 1073741824, "name": "a"}]}
    )


def test_a_play_without_a_difference_is_unchanged(tmp_path: Path) -> None:
    news = props(tmp_path)
    olds = news | {"status": APPLIED, "drift": [], "__provider": "old"}
    assert AnsiblePlayProvider().diff("id", olds, news).changes is False


@pytest.mark.parametrize(
    "key", ["playbook", "hosts", "variables", "secret_variables", "role_digest", "optional"]
)
def test_a_play_runs_again_when_an_input_differs(tmp_path: Path, key: str) -> None:
    olds = props(tmp_path) | {"status": APPLIED, "drift": []}
    assert AnsiblePlayProvider().diff("id", olds, props(tmp_path, **{key: "other"})).changes is True


def test_a_drift_found_by_a_refresh_makes_the_next_run_repair_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plays = run(monkeypatch, PlayReport(changed=["dc1: Configure containerd"]))
    state = props(tmp_path) | {"status": APPLIED, "drift": []}
    found = AnsiblePlayProvider().read("id", state).outs
    assert found is not None
    assert plays.requests[0].check is True
    assert found["drift"] == ["dc1: Configure containerd"]
    assert AnsiblePlayProvider().diff("id", found, props(tmp_path)).changes is True


def test_a_refresh_that_finds_nothing_leaves_the_state_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, PlayReport())
    state = props(tmp_path) | {"status": APPLIED, "drift": []}
    assert AnsiblePlayProvider().read("id", state).outs == state


def test_a_data_centre_host_out_of_reach_shows_as_drift_in_a_refresh_and_fails_an_update(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = PlayReport(unreachable=["dc1: Gathering Facts: no route"], return_code=4)
    run(monkeypatch, lost, lost)
    found = AnsiblePlayProvider().read("id", props(tmp_path) | {"status": APPLIED, "drift": []}).outs
    assert found is not None
    assert found["drift"] == lost.unreachable
    with pytest.raises(PlayError, match=r"no route[\s\S]*datacenter\.log"):
        AnsiblePlayProvider().update("id", {}, props(tmp_path))


def test_a_branch_out_of_reach_is_pending_and_tried_again_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, PlayReport(unreachable=["yanchang: x: timed out"], return_code=4))
    branch = props(tmp_path, optional=True)
    outputs = AnsiblePlayProvider().create(branch).outs
    assert outputs is not None
    assert outputs["status"] == PENDING
    assert AnsiblePlayProvider().diff("id", outputs, branch).changes is True


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (PlayReport(failed=["yanchang: Enrol: no token"], return_code=2), "yanchang: Enrol: no token"),
        (PlayReport(failed=["a: x"], unreachable=["b: y"], return_code=6), "a: x"),
        (PlayReport(return_code=250), "the play ended with 250"),
    ],
)
def test_a_branch_that_fails_says_why_stops_nobody_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, report: PlayReport, reason: str
) -> None:
    run(monkeypatch, report)
    branch = props(tmp_path, optional=True)
    outputs = AnsiblePlayProvider().create(branch).outs
    assert outputs is not None
    assert (outputs["status"], outputs["drift"]) == (FAILED, [reason])
    assert branch_status((outputs["status"], outputs["drift"])) == f"failed: {reason}"
    assert failed_branches(
        {"branches": {"yanchang": f"failed: {reason}", "b": "pending: x", "c": "applied"}}
    ) == {"yanchang": reason}
    assert AnsiblePlayProvider().diff("id", outputs, branch).changes is True


def test_a_branch_that_waits_for_its_line_is_pending_until_a_run_no_longer_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    branch = props(tmp_path, optional=True)

    def waits(_request: PlayRequest) -> PlayReport:
        ansible_play.results_file(tmp_path, "datacenter").write_text('{"pending": "not enrolled"}')
        return PlayReport()

    monkeypatch.setattr(ansible_play, "run_play", waits)
    outputs = AnsiblePlayProvider().create(branch).outs
    assert outputs is not None
    assert (outputs["status"], outputs["drift"]) == (PENDING, ["not enrolled"])
    run(monkeypatch, PlayReport())
    outputs = AnsiblePlayProvider().update("id", outputs, branch).outs
    assert outputs is not None
    assert (outputs["status"], outputs["drift"]) == (APPLIED, [])


def test_a_play_that_ended_badly_without_a_failed_task_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, PlayReport(return_code=250))
    with pytest.raises(PlayError, match="250"):
        AnsiblePlayProvider().create(props(tmp_path))


def test_the_role_digest_follows_templates_and_playbook_but_not_documentation(tmp_path: Path) -> None:
    role = tmp_path / "roles/node"
    (role / "templates").mkdir(parents=True)
    (tmp_path / "playbooks").mkdir()
    playbook = tmp_path / "playbooks/p.yml"
    playbook.write_text("a")
    (role / "templates/x.j2").write_text("a")
    first = role_digest("playbooks/p.yml", tmp_path)
    (role / "README.md").write_text("words")
    (role / "molecule").mkdir()
    (role / "molecule/m.yml").write_text("words")
    assert role_digest("playbooks/p.yml", tmp_path) == first
    (role / "templates/x.j2").write_text("b")
    second = role_digest("playbooks/p.yml", tmp_path)
    playbook.write_text("b")
    assert len({first, second, role_digest("playbooks/p.yml", tmp_path)}) == 3
