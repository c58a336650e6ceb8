from __future__ import annotations

import pytest
import yaml

from infra.components.manifests import read, type_token
from infra.components.object_store import operator_patch, without_csi
from infra.config.region import load_region
from tests.infra.conftest import GO_MODULES, RELEASED, manifest, supplies_for


@pytest.mark.parametrize(
    ("api_version", "kind", "token"),
    [
        ("v1", "Secret", "kubernetes:core/v1:Secret"),
        ("apps/v1", "Deployment", "kubernetes:apps/v1:Deployment"),
        ("ceph.rook.io/v1", "CephCluster", "kubernetes:ceph.rook.io/v1:CephCluster"),
    ],
)
def test_an_object_has_the_type_that_the_kubernetes_provider_gives_it(
    api_version: str, kind: str, token: str
) -> None:
    assert type_token(api_version, kind) == token


@pytest.mark.parametrize("key", RELEASED, ids="/".join)
def test_the_shortened_manifests_name_what_the_released_ones_do(key: tuple[str, str]) -> None:
    released = GO_MODULES / RELEASED[key]
    if not released.is_file():
        pytest.skip("needs this module, which the toolchain has not fetched yet")

    def names(text: str) -> list[tuple[str, str]]:
        documents = yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return [(found["kind"], found["metadata"]["name"]) for found in documents if found]

    assert names(manifest(*key).read_text()) == names(released.read_text())


def test_no_volume_driver_of_ceph_gets_rights_in_the_cluster() -> None:
    kept = read(manifest("rook", "common.yaml"), without_csi)
    assert not [found for found in kept if "csi" in found["metadata"]["name"]]
    assert [found for found in kept if found["metadata"]["name"] == "rook-ceph-system"]


def test_the_operator_has_our_image_and_starts_no_driver() -> None:
    region = load_region("local")
    supplies = supplies_for(region, manifest("rook", "x").parent)
    settings, deployment = read(manifest("rook", "operator.yaml"), operator_patch(region, supplies))
    assert settings["data"]["ROOK_CSI_ENABLE_RBD"] == "false"
    assert settings["data"]["ROOK_CSI_ENABLE_CEPHFS"] == "false"
    assert settings["data"]["ROOK_CEPH_ALLOW_LOOP_DEVICES"] == "true"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == (supplies.images["ceph"], "Never")
