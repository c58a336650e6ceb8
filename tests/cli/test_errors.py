"""What a person sees when something foreseen is wrong: what happened, why, what to do, and the exit status."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cli import doctor, main
from cli.exit_codes import ExitCode
from cli.machine import kernel, network, resources
from cli.machine.check import Check
from infra.config import region as region_module
from infra.config.region import CONFIG_KEY, stack_file
from toolchain.download import Downloads

Change = Callable[[dict[str, Any]], object]
Told = tuple[int, str]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, cache and logs of the test's own."""
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run a verb; its exit status and what it said on stderr."""

    def run(*words: str) -> Told:
        status = main.main(list(words))
        told = capsys.readouterr()
        assert "Traceback" not in told.err + told.out
        return status, told.err

    return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A machine on which every check is well; called with a check's name, that one is the real one again."""
    checks = {
        resources: ("root", "operating_system", "cores", "memory", "state_disk", "cache_disk", "packages"),
        kernel: ("overlay", "links", "nftables", "loop_devices", "file_watchers"),
        network: ("registry", "overlap"),
    }
    real = {name: getattr(module, name) for module, names in checks.items() for name in names}

    def well(name: str, *_: object) -> Check:
        return Check(name, "ok", "enough", "enough")

    for module, names in checks.items():
        for name in names:
            monkeypatch.setattr(module, name, partial(well, name))

    def back(name: str) -> None:
        module = next(module for module, names in checks.items() if name in names)
        monkeypatch.setattr(module, name, real[name])

    return back


def says(told: Told, status: ExitCode, *parts: str) -> None:
    """The exit status and every part, in this order."""
    assert told[0] == status, told[1]
    position = 0
    for part in parts:
        found = told[1].find(part, position)
        assert found >= 0, f"{part!r} is not in its place in:\n{told[1]}"
        position = found + len(part)


# The machine.


def test_who_is_not_root_is_told_how_to_become_it(
    machine: Callable[[str], None], run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("root")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    says(run("up"), ExitCode.MACHINE, "this machine does not fit: root", "found uid 1000; needed uid 0",
         "Run as root: sudo ./pacs")  # fmt: skip


def test_too_little_memory_is_told_with_what_there_is_and_what_is_needed(
    machine: Callable[[str], None], run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("memory")
    monkeypatch.setattr(resources, "MEMORY", 1 << 60)
    says(run("up"), ExitCode.MACHINE, "this machine does not fit: memory", "found", "GiB; needed 1073741824 GiB",
         "Give the machine more memory, or stop other work on it.")  # fmt: skip


def test_too_few_file_watchers_are_told_with_the_command_that_gives_more(
    machine: Callable[[str], None], run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("file_watchers")
    monkeypatch.setattr(kernel, "WATCHERS_OF_A_HOST", 1 << 20)
    says(run("up"), ExitCode.MACHINE, "this machine does not fit: file watchers", "needed 2097152",
         "sysctl --write fs.inotify.max_user_instances=2097152")  # fmt: skip


def test_too_little_disk_is_told_with_the_place_and_how_to_move_it(
    machine: Callable[[str], None],
    run: Callable[..., Told],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 << 30))
    machine("state_disk")
    says(run("up"), ExitCode.MACHINE, "this machine does not fit: disk for state",
         f"found 3.0 GiB free at {tmp_path}/state/local; needed", "PACS_STATE_DIR=/other/place")  # fmt: skip
    machine("cache_disk")
    says(run("up"), ExitCode.MACHINE, "(1 more: see ./pacs doctor)")


def test_doctor_lists_every_thing_that_is_missing(
    machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine("root")
    machine("cores")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert main.main(["doctor", "--json"]) == ExitCode.DIFFERENCE
    checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert [name for name, one in checks.items() if one["outcome"] == "missing"] == ["root", "cores"]
    assert all(one["action"] for one in checks.values() if one["outcome"] != "ok")


def test_a_registry_that_cannot_be_reached_is_told_with_what_still_works(
    machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine("registry")
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    mirror = network.Registry("go", "tools built from Go modules", "http://127.0.0.1:1")
    monkeypatch.setattr(network, "registries", lambda: [mirror])
    assert main.main(["doctor", "--json"]) == ExitCode.DONE, "a cache may hold all that is needed"
    [check] = [one for one in json.loads(capsys.readouterr().out)["checks"] if "registry" in one["name"]]
    assert (check["name"], check["outcome"]) == ("registry of go", "warn")
    assert check["found"] == "127.0.0.1:1: Connection refused"
    assert "what the cache holds still works" in check["action"]
    assert "point the client to a mirror" in check["action"]


def test_a_network_of_the_region_that_this_machine_uses_is_told_by_name(
    machine: Callable[[str], None], run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("overlap")
    route = json.dumps([{"dst": "10.90.0.0/16", "dev": "eth7"}])
    monkeypatch.setattr(network, "_run", lambda _: route)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/sbin/ip")
    says(run("up"), ExitCode.MACHINE, "this machine does not fit: networks",
         "network.management 10.90.0.0/24 overlaps 10.90.0.0/16 on eth7",
         "Move the region's network in the stack file.")  # fmt: skip


# The stack file.


def twin(region: dict[str, Any]) -> None:
    """A second branch that keeps the first one's AE title."""
    second = json.loads(json.dumps(region["branches"][0]))
    lan = {"lan": "10.91.2.0/30", "lan_address": "10.91.2.2"}
    calling = [{"ae_title": "CT1", "network": "10.91.2.0/30"}]
    second |= {"site": "luochuan", "address": "10.90.0.22", "calling": calling, **lan}
    region["branches"].append(second)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda region: region["branches"][0].update(ae_titel="X"),
         "pacs:region.branches[0].ae_titel: unknown key; did you mean 'ae_title'?"),
        (lambda region: region["region"].update(epoch="one"),
         "pacs:region.region.epoch: got 'one'; Input should be a valid integer"),
        (lambda region: region["network"].update(pods="10.90.0.0/16"),
         "networks overlap: got network.pods = 10.90.0.0/16 and network.management = 10.90.0.0/24; "
         "allowed: networks that share no address. Move one of them"),
        (twin, "got AE titles used twice: ['YANCHANG']; allowed: one archive an AE title. Rename one of them"),
    ],
    ids=["unknown key", "ill-typed key", "overlapping networks", "duplicate AE titles"],
)  # fmt: skip
def test_a_wrong_stack_file_is_told_with_file_path_and_cure(
    change: Change, told: str, run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = yaml.safe_load(stack_file("local").read_text(encoding="utf-8"))
    change(document["config"][CONFIG_KEY])
    (tmp_path / "Pulumi.wrong.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr(region_module, "STACKS", tmp_path)
    says(run("up", "--stack", "wrong"), ExitCode.USAGE, "the stack's configuration is wrong",
         f"{tmp_path}/Pulumi.wrong.yaml", told,
         "Correct the keys named above; stacks/README.md explains each.")  # fmt: skip


# Downloads.


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[str]:
    """The URL of a server that has the file `tool`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    served = tmp_path / "served"
    served.mkdir()
    (served / "tool").write_bytes(b"not what the vendor signed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/tool"
    server.shutdown()
    server.server_close()
    thread.join()


def fetching(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str, cache: Path) -> None:
    """Let `status` be a verb that needs this download."""

    def status() -> None:
        """Fetch."""
        with Downloads(cache) as downloads:
            downloads.fetch(url, sha256, lambda have, total: None)

    module = type(sys)("fetching")
    module.status = status  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fetching", module)
    monkeypatch.setitem(main.VERBS, "status", main.Verb("fetching", "status"))


def test_a_corrupt_download_is_told_with_both_sums_and_nothing_of_it_is_kept(
    vendor: str, run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted, found = "0" * 64, hashlib.sha256(b"not what the vendor signed").hexdigest()
    fetching(monkeypatch, vendor, wanted, tmp_path / "downloads")
    says(run("status"), ExitCode.FAILED, f"the download of {vendor} is corrupt",
         f"its SHA-256 is {found}, the vendor's checksum file says {wanted}",
         "Nothing of it was used. Run again", "PACS_OFFLINE_RELEASES=1")  # fmt: skip
    assert [path for path in (tmp_path / "downloads").rglob("*") if path.is_file()] == []


def test_a_vendor_that_cannot_be_reached_is_told_by_name(
    run: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fetching(monkeypatch, "http://127.0.0.1:1/tool", "0" * 64, tmp_path / "downloads")
    says(run("status"), ExitCode.FAILED, "127.0.0.1:1 cannot be reached", "Connection refused",
         "Check the network or the proxy settings.")  # fmt: skip
