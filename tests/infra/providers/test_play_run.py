from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.providers.play_run import PROJECT, REQUEST, PlayRequest, end_connections, run_play, write_private
from tests.infra.providers.test_play_process import SECRET, host, request

PLAY = """
- hosts: datacenter
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.copy: {content: "kept", dest: "{{ target }}", mode: "0644"}
    - name: Write a secret
      ansible.builtin.copy: {content: "{{ secret }}", dest: "{{ target }}.secret", mode: "0600"}
      no_log: true
"""


@pytest.mark.integration
def test_a_play_changes_once_finds_drift_in_check_mode_and_repairs_exactly_that(tmp_path: Path) -> None:
    """The whole way through ansible-runner, on this machine without ssh."""
    (tmp_path / "play.yml").write_text(PLAY)
    target = tmp_path / "target"

    first = run_play(request(tmp_path))
    assert first.succeeded
    assert first.changed == ["dc1: Write a file", "dc1: 1 task(s) whose output is withheld"]

    target.write_text("altered by hand")
    drift = run_play(request(tmp_path, check=True))
    assert drift.changed == ["dc1: Write a file"]
    assert target.read_text() == "altered by hand"

    assert run_play(request(tmp_path)).changed == ["dc1: Write a file"]
    assert target.read_text() == "kept"

    logs = tmp_path / "state/logs"
    events = [json.loads(line) for line in (logs / "t.events.jsonl").read_text().splitlines()]
    finished = [(event["mode"], event["changed"]) for event in events if event["event"] == "finished"]
    assert finished == [("apply", 2), ("check", 1), ("apply", 1)]

    left = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert all(SECRET not in path.read_text(errors="replace") for path in left)
    assert list((tmp_path / "state/run").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "state/run").stat().st_mode) == 0o700


def test_the_connections_of_a_run_are_told_to_end_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh, told = tmp_path / "bin/ssh", tmp_path / "told"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$*" >> {told}\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    for name in ("p1", "p2"):
        (tmp_path / "run" / name / "ssh").mkdir(parents=True)
        (tmp_path / "run" / name / "ssh/socket").touch()
    end_connections(tmp_path / "run", "p1")
    assert told.read_text().splitlines() == [
        f"-F /dev/null -o ControlPath={tmp_path}/run/p1/ssh/socket -O exit master"
    ]
    end_connections(tmp_path / "run")
    assert len(told.read_text().splitlines()) == 3


@pytest.mark.integration
def test_a_playbook_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text("- hosts: [")
    report = run_play(request(tmp_path))
    assert not report.succeeded
    assert "the playbook did not start" in report.failed[0]


@pytest.mark.integration
def test_a_host_that_does_not_answer_is_unreachable_not_failed(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    report = run_play(
        request(tmp_path, hosts=[host(address="127.0.0.1", port=9, key="", groups=["datacenter"])])
    )
    assert report.failed == []
    assert len(report.unreachable) == 1


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> PlayRequest:
    """Make the run's process an interpreter that runs `code` instead; it finds the directory in sys.argv."""
    popen = subprocess.Popen

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return popen([sys.executable, "-c", code, command[-1]], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    return request(tmp_path)


def test_a_run_whose_process_dies_is_a_failure_with_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = run_play(stand_in(monkeypatch, tmp_path, "import os; os.kill(os.getpid(), 9)"))
    assert not report.succeeded
    assert report.failed == ["the run ended with -9 before it could report"]


def test_a_run_that_ends_well_without_a_report_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not run_play(stand_in(monkeypatch, tmp_path, "")).succeeded


def test_the_request_is_for_the_owner_alone_and_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "import json, os, sys; from pathlib import Path; home = Path(sys.argv[1]); "
        "mode = lambda path: oct(path.stat().st_mode & 0o777); "
        "asked = home / 'request.json'; seen = [mode(home), mode(asked), asked.read_text()]; "
        "(home / 'report.json').write_text(json.dumps({'changed': seen}))"
    )
    modes = run_play(stand_in(monkeypatch, tmp_path, code)).changed
    assert modes[:2] == ["0o700", "0o600"]
    assert SECRET in modes[2]
    assert list((tmp_path / "state/run").iterdir()) == []


@pytest.mark.integration
def test_a_run_ends_when_whoever_asked_for_it_is_gone(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(
        "- {hosts: all, gather_facts: false, tasks: [{ansible.builtin.wait_for: {timeout: 60}}]}"
    )
    home = tmp_path / "home"
    home.mkdir()
    asked = request(tmp_path)
    document = {"name": "t", "playbook": asked.playbook, "hosts": asked.hosts, "variables": {}}
    write_private(home / REQUEST, json.dumps(document | {"state_dir": str(asked.state_dir)}))
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.providers.play_process", str(home)],
        stdin=subprocess.PIPE,
        cwd=PROJECT,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.close()
    # Once ansible-runner has begun it takes the signal for a wish to cancel, and comes to an end itself.
    assert process.wait(timeout=30) in {-signal.SIGTERM, 0}
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
