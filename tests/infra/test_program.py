from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pytest
import yaml
from pulumi.runtime import mocks

from infra import program as module
from infra.config.region import CONFIG_KEY, RegionConfig, RegionConfigError, load_region, stack_file
from infra.supplies import Supplies
from tests.infra.conftest import Recording, RecordingMonitor, supplies_for


def run(
    region: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Recording, dict[str, pulumi.Input[object]]]:
    """The program as Pulumi runs it: the region comes from configuration, as JSON text."""
    exported: dict[str, pulumi.Input[object]] = {}

    def supplies(config: RegionConfig, stack: str) -> Supplies:
        assert stack == "local"
        return supplies_for(config, tmp_path)

    monkeypatch.setattr(module, "from_toolchain", supplies)
    monkeypatch.setattr(pulumi, "get_stack", lambda: "local")
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    recording = Recording()
    monitor = RecordingMonitor(recording, preview=False)
    mocks.set_mocks(monitor.mocks, stack="local", monitor=monitor)
    pulumi.runtime.set_all_config({CONFIG_KEY: json.dumps(region)})
    pulumi.runtime.test(module.program)()  # type: ignore[no-untyped-call]
    return recording, exported


def test_the_program_reads_the_region_that_pulumi_hands_it_and_exports_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    region = yaml.safe_load(stack_file("local").read_text(encoding="utf-8"))["config"][CONFIG_KEY]
    recording, exported = run(region, monkeypatch, tmp_path)
    assert exported["gateway_url"] == f"https://{load_region('local').gateway_name}"
    assert set(exported) == {"gateway_url", "kubeconfig", "branches", "network_policies"}
    assert exported["network_policies"] == "declared, enforced by nobody: network.cni is bridge"
    assert recording.of_type(":Host")


def test_a_wrong_region_is_refused_before_anything_is_registered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RegionConfigError, match=r"configuration of stack local"):
        run({"regoin": {}}, monkeypatch, tmp_path)
