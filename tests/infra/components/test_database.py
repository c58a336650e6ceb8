from __future__ import annotations

from pathlib import Path

import yaml

from infra import naming
from infra.components.database import cluster_spec, operator_patch, volumes_patch
from infra.components.manifests import container_of, read, without_namespaces
from infra.config.region import load_region
from infra.policies.pod_security import violations
from tests.infra.conftest import manifest, supplies_for


def test_with_standbys_a_commit_waits_for_one_of_them() -> None:
    region = load_region("yanan")
    spec = cluster_spec(region.database, supplies_for(region, Path("/state")))
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}


def test_a_single_instance_waits_for_nobody() -> None:
    region = load_region("local")
    spec = cluster_spec(region.database, supplies_for(region, Path("/state")))
    assert "synchronous" not in spec["postgresql"]


def test_the_database_takes_no_connection_without_tls_and_has_our_certificate() -> None:
    region = load_region("local")
    spec = cluster_spec(region.database, supplies_for(region, Path("/state")))
    assert spec["postgresql"]["pg_hba"] == ["hostnossl all all all reject"]
    assert spec["certificates"] == {
        "serverTLSSecret": naming.DATABASE_TLS,
        "serverCASecret": naming.DATABASE_CA,
    }


def test_the_databases_figures_are_served_over_tls_too() -> None:
    region = load_region("local")
    spec = cluster_spec(region.database, supplies_for(region, Path("/state")))
    assert spec["monitoring"] == {"tls": {"enabled": True}}


def test_the_operator_runs_our_image_and_never_pulls_one_on_its_own() -> None:
    supplies = supplies_for(load_region("local"), Path("/state"))
    objects = read(manifest("cloudnative_pg", "cnpg.yaml"), without_namespaces, operator_patch(supplies))
    (deployment,) = [found for found in objects if found["kind"] == "Deployment"]
    container = container_of(deployment)
    assert container["image"] == supplies.images["cloudnative-pg"]
    assert container["imagePullPolicy"] == "Never"
    assert {"name": "OPERATOR_IMAGE_NAME", "value": container["image"]} in container["env"]
    assert not [found for found in objects if found["kind"] == "Namespace"]


def test_the_provisioner_is_restricted_and_its_helper_has_only_what_directories_need() -> None:
    supplies = supplies_for(load_region("local"), Path("/state"))
    objects = read(
        manifest("local_path_provisioner", "local-path-storage.yaml"),
        without_namespaces,
        volumes_patch(supplies),
    )
    (deployment,) = [found for found in objects if found["kind"] == "Deployment"]
    assert violations(deployment["spec"]["template"]["spec"]) == []
    (configuration,) = [found for found in objects if found["kind"] == "ConfigMap"]
    helper = yaml.safe_load(configuration["data"]["helperPod.yaml"])["spec"]["containers"][0]
    assert helper["image"] == supplies.images["services"]
    assert "privileged" not in helper["securityContext"]
    assert helper["securityContext"]["capabilities"]["drop"] == ["ALL"]
