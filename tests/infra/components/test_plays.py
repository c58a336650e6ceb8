"""What the plays are told is what the roles say they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.components.branch import branch_node_variables, branch_variables
from infra.components.cluster import node_variables
from infra.config.region import RegionConfig, load_region
from infra.credentials import Credentials, ensure_credentials
from tests.infra.conftest import NOW, give_second_copy, supplies_for

ROLES = Path(__file__).resolve().parents[3] / "roles"


def options(role: str) -> dict[str, Any]:
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = specs["argument_specs"]["main"]["options"]
    return found


@pytest.fixture(params=["local", "yanan"])
def region(request: pytest.FixtureRequest) -> RegionConfig:
    return load_region(request.param)


def _check(variables: dict[str, Any], *roles: str) -> None:
    known = {name: option for role in roles for name, option in options(role).items()}
    assert sorted(set(variables) - set(known)) == []
    required = {name for name, option in known.items() if option.get("required")}
    assert sorted(required - set(variables)) == []


def test_a_data_centre_node_is_told_everything_its_roles_require_and_nothing_else(
    region: RegionConfig, tmp_path: Path
) -> None:
    per_host = {"ceph_device_paths": [], "kubernetes_node_address": region.datacenter.nodes[0].address}
    _check(
        node_variables(region, supplies_for(region, tmp_path)) | per_host, "kubernetes_node", "ceph_device"
    )


def test_a_branch_is_told_everything_its_roles_require_and_no_secret(
    region: RegionConfig, tmp_path: Path
) -> None:
    supplies = supplies_for(region, tmp_path)
    give_second_copy(region, supplies)
    credentials: Credentials = ensure_credentials(region, supplies, NOW)
    for branch in region.branches:
        node = branch_node_variables(region, branch, supplies)
        _check(node, "kubernetes_node")
        assert node["kubernetes_node_control_plane_endpoint"] == f"api.{branch.site}.{region.region.domain}"
        variables = branch_variables(region, branch, credentials, supplies, "groups: []")
        _check(variables | {"edge_node_disks": []}, "edge_node")
        assert "PRIVATE KEY" not in str(variables)
