"""The region on this machine, driven by the command that its operators use."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from cli.engine.workspace import Layout
from cli.local_hosts import found
from infra.hosts.base import HostFacts, HostSpec
from infra.hosts.nspawn import NspawnHosts
from toolchain.install import installed
from toolchain.paths import REPOSITORY, cache_directory, state_directory


def pacs(*words: str, seconds: int = 1500) -> subprocess.CompletedProcess[str]:
    """Run `./pacs words`; both streams are kept for the message of a failing test."""
    return subprocess.run(
        [str(REPOSITORY / "pacs"), *words], capture_output=True, text=True, timeout=seconds, check=False
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command with --json printed; the command must have succeeded."""
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def region() -> dict[str, Any]:
    """The region, up; what `up --json` said, and as `built` whether the cache lacked something for it."""
    begun = time.time()
    told = document(pacs("up", "--json"))
    cache = cache_directory()
    made = [path for folder in ("tools", "images", "rootfs") for path in (cache / folder).rglob("*")]
    return told | {"built": any(path.lstat().st_mtime > begun for path in made if path.exists())}


@pytest.fixture(scope="session")
def verified(region: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """`./pacs verify --json` on the region, once: real images have gone through it."""
    return pacs("verify", "--json")


def host(name: str) -> tuple[HostSpec, HostFacts]:
    """A running local host."""
    spec = next(spec for spec in found(Layout("local")) if spec.name == name)
    facts = NspawnHosts().inspect(spec)
    assert facts is not None
    return spec, facts


def on_host(name: str, command: str) -> str:
    """Run a shell command on a local host by ssh, as an operator would; its output."""
    _, facts = host(name)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    done = subprocess.run(
        ["ssh", "-i", facts.ssh_key, *options, f"root@{facts.address}", command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubectl(*words: str) -> str:
    """Run kubectl against the data centre's cluster."""
    program = installed(["kubernetes"])["kubectl"]
    kubeconfig = state_directory("local") / "kubeconfig"
    done = subprocess.run(
        [str(program), f"--kubeconfig={kubeconfig}", *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
