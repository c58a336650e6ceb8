"""The process of one run: ansible-runner in an interpreter that does nothing else.

`python -m infra.providers.play_process DIRECTORY` reads `request.json` there and writes `report.json`. It
ends, Ansible included, when its standard input does: then whoever asked for the run is gone.

Secrets are in no argument list; of a task's result only its message is kept, and none of a `no_log` task.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import ansible_runner

from infra.providers.play_run import PROJECT, REPORT, REQUEST, PlayReport, PlayRequest, write_private

_OUTCOMES = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_item_on_failed": "item failed",
}


def main(home: Path) -> None:
    """Run what `home` asks for and leave the report there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    document = json.loads((home / REQUEST).read_text(encoding="utf-8"))
    request = PlayRequest(**document | {"state_dir": Path(document["state_dir"])})
    write_private(home / REPORT, json.dumps(asdict(run(request, home))))


def run(request: PlayRequest, home: Path) -> PlayReport:
    """Run the playbook with its files under `home`; log and events go to the state directory."""
    report = PlayReport()
    logs = request.state_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (
        (logs / f"{request.name}.log").open("a", encoding="utf-8") as log,
        (logs / f"{request.name}.events.jsonl").open("a", encoding="utf-8") as events,
    ):
        recorder = Recorder(request, report, log, events)
        recorder.note("started")
        write_private(home / "inventory.json", json.dumps(inventory_of(request, home)))
        write_private(home / "known_hosts", "".join(known_hosts(request.hosts)))
        write_private(home / "variables.json", json.dumps(dict(request.variables)))
        write_private(home / "ansible.cfg", "")
        (home / "runner").mkdir()
        arguments = f"--extra-vars @{home / 'variables.json'}" + (" --check" if request.check else "")
        runner = ansible_runner.run(
            private_data_dir=str(home / "runner"),
            playbook=str(PROJECT / request.playbook),
            inventory=str(home / "inventory.json"),
            cmdline=arguments,
            envvars=environment(home),
            quiet=True,
            event_handler=recorder.handle,
        )
        report.return_code = int(runner.rc if runner.rc is not None else 1)
        if report.return_code and not report.failed and not report.unreachable:
            # A fault before the first task: a syntax error, an unknown role.
            report.failed.append(_last_words(runner))
        recorder.note("finished", return_code=report.return_code, changed=len(report.changed))
    return report


def inventory_of(request: PlayRequest, home: Path) -> dict[str, Any]:
    """The inventory as Ansible's YAML plugin reads it: groups of hosts with their connection variables."""
    groups: dict[str, dict[str, Any]] = {}
    for host in request.hosts:
        for group in host["groups"]:
            groups.setdefault(group, {"hosts": {}})["hosts"][host["name"]] = {}
    hosts = {host["name"]: {**host.get("variables", {}), **_connection(host, home)} for host in request.hosts}
    return {"all": {"hosts": hosts, "children": groups}}


def known_hosts(hosts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of an ssh known_hosts file: only the keys that the host provider has seen are accepted."""
    return [f"{_ssh_name(host)} {host['host_key']}\n" for host in hosts if host.get("host_key")]


def _ssh_name(host: Mapping[str, Any]) -> str:
    port = host["port"]
    return str(host["address"]) if port == 22 else f"[{host['address']}]:{port}"


def environment(home: Path) -> dict[str, str]:
    """Ansible's settings, so that no ansible.cfg of the machine changes what a play does."""
    return {
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(PROJECT / "roles"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_TIMEOUT": "15",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(home / "ssh"),
        # The venv's programs win, also where the plugin was started without the venv's PATH.
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
    }


def _connection(host: Mapping[str, Any], home: Path) -> dict[str, Any]:
    if host.get("connection") == "local":
        return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    arguments = f"-o UserKnownHostsFile={home / 'known_hosts'} -o StrictHostKeyChecking=yes -o BatchMode=yes"
    variables = {
        "ansible_host": host["address"],
        "ansible_user": host["user"],
        "ansible_port": host["port"],
        "ansible_ssh_common_args": arguments,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_become": host["user"] != "root",
    }
    return variables | ({"ansible_ssh_private_key_file": host["key"]} if host.get("key") else {})


def _last_words(runner: Any) -> str:
    text = runner.stdout.read() if runner.stdout else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return "the playbook did not start: " + " ".join(lines[-6:])


class Recorder:
    """Turns ansible-runner's events into the report, a log for people, and JSON lines for the CLI."""

    def __init__(self, request: PlayRequest, report: PlayReport, log: TextIO, events: TextIO) -> None:
        self.request = request
        self.report = report
        self.log = log
        self.events = events

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Called for each event. False: ansible-runner need not keep the event in a file."""
        data = event.get("event_data") or {}
        kind = str(event.get("event"))
        task = str(data.get("task", ""))
        if kind == "playbook_on_task_start":
            self.note("task", task=task, role=data.get("role", ""))
        if kind == "playbook_on_stats":
            self._add_withheld(data.get("changed") or {})
        outcome = _OUTCOMES.get(kind)
        if outcome is not None and not (outcome == "failed" and data.get("ignore_errors")):
            self._outcome(outcome, str(data.get("host", "")), task, data.get("res") or {})
        return False

    def _outcome(self, outcome: str, host: str, task: str, result: Mapping[str, Any]) -> None:
        where = f"{host}: {task}"
        if outcome == "ok":
            if not result.get("changed"):
                return
            outcome = "changed"
            self.report.changed.append(where)
            self.note(outcome, host=host, task=task)
        else:
            message = message_of(result)
            entries = {"failed": self.report.failed, "unreachable": self.report.unreachable}.get(outcome)
            if entries is not None:
                entries.append(f"{where}: {message}")
            self.note(outcome, host=host, task=task, message=message)
        print(f"{self.request.name} {outcome} {where}", flush=True)

    def _add_withheld(self, totals: Mapping[str, int]) -> None:
        """A `no_log` task's result does not even say that it changed something; the totals do."""
        for host, total in totals.items():
            withheld = total - sum(where.startswith(f"{host}: ") for where in self.report.changed)
            if withheld > 0:
                where = f"{host}: {withheld} task(s) whose output is withheld"
                self.report.changed.append(where)
                self.note("changed", host=host, task="(withheld)")

    def note(self, event: str, **details: Any) -> None:
        """One record in both logs."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        mode = "check" if self.request.check else "apply"
        record = {"at": at, "play": self.request.name, "mode": mode, "event": event, **details}
        self.events.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.events.flush()
        text = " ".join(str(value) for value in details.values())
        self.log.write(f"{at} {mode} {event} {text}\n")
        self.log.flush()


def message_of(result: Mapping[str, Any]) -> str:
    """The message of a task's result, at most 500 characters; `no_log` results carry none."""
    if "censored" in result or result.get("_ansible_no_log"):
        return "(the task's output is withheld because it may hold secrets)"
    parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr")]
    return " ".join(part for part in parts if part)[-500:] or "no message"


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # not through the buffer, whose lock the interpreter wants at its end
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
