"""The module that takes a dead member out of etcd, against a real etcd."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.network import free_port
from roles.kubernetes_node.library import etcd_member
from toolchain import install

pytestmark = pytest.mark.integration

MODULE = Path(etcd_member.__file__)
START_SECONDS = 30.0


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[str]:
    """One living member, `dc2`; its client URL."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        str(install.ensure(["etcd"])["etcd"]), "--name=dc2", f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=dc2={peer}", "--log-level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                etcd_member.ask(client, None, "list", {})
                break
            except OSError:
                assert time.monotonic() < deadline, "etcd did not start"
                time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait(20)


def run(endpoint: str, name: str, address: str, *, check: bool = False) -> dict[str, Any]:
    """The module as Ansible runs it; its result."""
    arguments = {"name": name, "address": address, "endpoint": endpoint, "_ansible_check_mode": check}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    code = (
        "import sys; from ansible.module_utils import basic; basic._ANSIBLE_PROFILE = 'legacy'; "
        "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(MODULE)], input=given, capture_output=True, text=True, check=False
    )
    result: dict[str, Any] = json.loads(done.stdout or "{}") or {"stderr": done.stderr}
    return result


def members(endpoint: str) -> list[str]:
    return [str(member.get("name", "")) for member in etcd_member.ask(endpoint, None, "list", {})["members"]]


def test_a_member_that_never_came_is_taken_out_once(etcd: str) -> None:
    dead = {"peerURLs": ["http://10.0.0.11:2380"], "isLearner": True}
    etcd_member.ask(etcd, None, "add", dead)  # type: ignore[arg-type]
    assert run(etcd, "dc1", "10.0.0.11", check=True)["changed"] is True
    assert len(members(etcd)) == 2
    assert run(etcd, "dc1", "10.0.0.11")["changed"] is True
    assert members(etcd) == ["dc2"]
    assert run(etcd, "dc1", "10.0.0.11")["changed"] is False


def test_the_only_member_is_never_taken_out(etcd: str) -> None:
    result = run(etcd, "dc2", "127.0.0.1")
    assert result["failed"] is True
    assert "only member" in result["msg"]
    assert members(etcd) == ["dc2"]


def test_an_etcd_that_does_not_answer_is_told() -> None:
    result = run(f"http://127.0.0.1:{free_port()}", "dc1", "10.0.0.11")
    assert result["failed"] is True
    assert "does not answer" in result["msg"]
    assert "docs/replace-a-node.md" in result["msg"]
