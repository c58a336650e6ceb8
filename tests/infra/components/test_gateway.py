from __future__ import annotations

from pathlib import Path

from infra.components.gateway import gateway_pod, gateway_settings, read_pages
from infra.config.region import RegionConfig, load_region
from tests.infra.conftest import supplies_for


def test_a_refused_site_reaches_the_gateway_with_its_institution() -> None:
    region = load_region("local").model_dump(mode="json")
    region["gateway"]["refused_sites"] = ["yanchang"]
    (refused,) = gateway_settings(RegionConfig.model_validate(region)).refused_sites
    assert (refused.institution, refused.site) == ("yanan", "yanchang")


def test_the_gateways_scratch_is_bounded() -> None:
    region = load_region("local")
    pod = gateway_pod(region, supplies_for(region, Path("/state")), gateway_settings(region))
    (scratch,) = [volume for volume in pod["volumes"] if volume["name"] == "tmp"]
    assert scratch["emptyDir"] == {"sizeLimit": "256Mi"}


def test_the_operations_page_takes_what_a_browser_loads_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "build.py").write_text("code")
    assert read_pages(tmp_path) == {"index.html": "page"}
    assert read_pages(tmp_path / "absent") == {}
