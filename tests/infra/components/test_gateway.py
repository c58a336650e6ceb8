from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from pydantic import ValidationError

from infra.components.gateway import gateway_pod, gateway_settings, read_pages
from infra.components.pacs_services import archive_environment
from infra.config.region import RegionConfig, load_region
from tests.infra.conftest import Built, supplies_for


def test_a_refused_site_reaches_the_gateway_with_its_institution() -> None:
    region = load_region("local").model_dump(mode="json")
    region["gateway"]["refused_sites"] = ["yanchang"]
    (refused,) = gateway_settings(RegionConfig.model_validate(region)).refused_sites
    assert (refused.institution, refused.site) == ("yanan", "yanchang")


def test_the_gateway_expects_the_names_that_are_on_the_certificates_behind_it(built: Built) -> None:
    settings, given = gateway_settings(built.region), built.credentials
    for name, identity in (
        (settings.archive_name, given.archive),
        (settings.prometheus_name, given.monitoring),
    ):
        leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert name in names.get_values_for_type(x509.DNSName)


def test_the_gateways_scratch_is_bounded() -> None:
    region = load_region("local")
    pod = gateway_pod(region, supplies_for(region, Path("/state")), gateway_settings(region))
    (scratch,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
    assert scratch["emptyDir"] == {"sizeLimit": "256Mi"}


def test_what_was_read_last_lies_in_memory_as_large_as_the_stack_file_says() -> None:
    region = load_region("local")
    settings = gateway_settings(region)
    pod = gateway_pod(region, supplies_for(region, Path("/state")), settings)
    (cache,) = [volume for volume in pod["volumes"] if volume["name"] == "cache"]
    assert cache["emptyDir"] == {"medium": "Memory", "sizeLimit": region.gateway.cache}
    assert {"name": "cache", "mountPath": str(settings.cache)} in pod["containers"][0]["volumeMounts"]
    assert settings.cache_mib == 256


def test_the_gateway_reads_from_the_store_that_the_archive_signs_for() -> None:
    region = load_region("local")
    endpoint = archive_environment(region)["PACS_STORE_ENDPOINT"]
    assert gateway_settings(region).store == endpoint.removeprefix("https://")


@pytest.mark.parametrize("cache", ["32Mi", "257Mi", "1Gi"])
def test_a_cache_that_does_not_fit_into_the_gateways_memory_is_refused(cache: str) -> None:
    region = load_region("local").model_dump(mode="json")
    region["gateway"] |= {"memory": "512Mi", "cache": cache}
    with pytest.raises(ValidationError, match=r"gateway\.cache is"):
        RegionConfig.model_validate(region)


def test_the_operations_page_takes_what_a_browser_loads_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "build.py").write_text("code")
    assert read_pages(tmp_path) == {"index.html": "page"}
    assert read_pages(tmp_path / "absent") == {}
