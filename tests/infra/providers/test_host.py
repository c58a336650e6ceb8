from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.hosts.base import Disk, HostError, HostFacts, HostSpec, Link
from infra.providers import host as module
from infra.providers.host import KEEP_DATA, HostResourceProvider, inputs_of, spec_of

SPEC = HostSpec(
    "dc1",
    "nspawn",
    "10.90.0.11",
    links=(Link("mgmt0", "pacs0", "10.90.0.11/24", peer="10.90.0.1/24"),),
    disks=(Disk("osd1", 1 << 30),),
    state_dir=Path("/state"),
)


class Machines:
    """A host provider in memory."""

    def __init__(self, *, running: bool = True, fails: bool = False) -> None:
        self.specs: dict[str, HostSpec] = {}
        self.running = running
        self.fails = fails
        self.kept: list[bool] = []

    def ensure(self, spec: HostSpec) -> HostFacts:
        if self.fails:
            raise HostError("no route to host; check the cable")
        self.specs[spec.name] = spec
        return self._facts(spec)

    def inspect(self, spec: HostSpec) -> HostFacts | None:
        return self._facts(spec) if spec.name in self.specs else None

    def remove(self, spec: HostSpec, *, keep_data: bool = False) -> None:
        del self.specs[spec.name]
        self.kept.append(keep_data)

    def _facts(self, spec: HostSpec) -> HostFacts:
        return HostFacts(
            spec.name, spec.address, "root", 22, "/key", "ssh-ed25519 A", {"osd1": "/dev/loop0"}, self.running
        )


def use(monkeypatch: pytest.MonkeyPatch, machines: Machines) -> HostResourceProvider:
    monkeypatch.setattr(module, "provider_for", lambda _: machines)
    return HostResourceProvider()


def props(**changes: Any) -> dict[str, Any]:
    return inputs_of(SPEC) | {"optional": False} | changes


def test_a_specification_survives_the_way_through_the_engine() -> None:
    assert spec_of(inputs_of(SPEC)) == SPEC


def test_a_host_comes_back_with_its_devices_and_is_then_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = use(monkeypatch, Machines())
    outputs = provider.create(props()).outs
    assert outputs is not None
    assert outputs["devices"] == {"osd1": "/dev/loop0"}
    assert provider.diff("dc1", outputs, props()).changes is False
    assert provider.read("dc1", outputs).outs == outputs


def test_a_host_that_is_down_is_brought_up_by_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Machines()
    provider = use(monkeypatch, machines)
    outputs = provider.create(props()).outs
    assert outputs is not None
    machines.running = False
    found = provider.read("dc1", outputs).outs
    assert found is not None
    assert provider.diff("dc1", found, props()).changes is True


def test_a_host_that_is_gone_leaves_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use(monkeypatch, Machines()).read("dc1", props()).id == ""


@pytest.mark.parametrize(("key", "replaces"), [("kind", ["kind"]), ("address", []), ("disks", [])])
def test_only_another_kind_or_name_is_another_host(
    monkeypatch: pytest.MonkeyPatch, key: str, replaces: list[str]
) -> None:
    result = use(monkeypatch, Machines()).diff("dc1", props(running=True), props(**{key: "other"}))
    assert result.changes is True
    assert result.replaces == replaces


def test_a_data_centre_host_out_of_reach_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="check the cable"):
        use(monkeypatch, Machines(fails=True)).create(props())


def test_a_branch_host_out_of_reach_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = use(monkeypatch, Machines(fails=True))
    outputs = provider.create(props(optional=True)).outs
    assert outputs is not None
    assert outputs["running"] is False
    assert provider.diff("dc1", outputs, props(optional=True)).changes is True


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("", False)])
def test_data_outlives_a_host_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str, kept: bool
) -> None:
    machines = Machines()
    provider = use(monkeypatch, machines)
    provider.create(props())
    monkeypatch.setenv(KEEP_DATA, value)
    provider.delete("dc1", props())
    assert machines.kept == [kept]
