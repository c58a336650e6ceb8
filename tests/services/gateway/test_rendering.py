"""The rendered configuration: deterministic, typed, with the rules that must never go missing."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from services.gateway.problems import PROBLEMS
from services.gateway.rendering import render
from services.gateway.settings import GatewaySettings, RefusedSite

SETTINGS = GatewaySettings(
    domain="pacs.local.test",
    archive="archive:8080",
    ingest="archive:8090",
    archive_name="archive.pacs.svc",
    prometheus_name="prometheus.monitoring.svc",
    ca="ca:9000",
)


def everything() -> str:
    """The http block with every part that a region can have."""
    text = nginx(prometheus="prometheus.monitoring:9090", store="rgw.ceph.svc:443", store_name="rgw.ceph.svc")
    return text[text.index("http {") :]


def nginx(**changes: object) -> str:
    return render(SETTINGS.model_copy(update=changes))["nginx.conf"]


def test_the_same_settings_give_the_same_files() -> None:
    assert render(SETTINGS) == render(SETTINGS)
    assert set(render(SETTINGS)) == {
        "nginx.conf", "client_identity.lua", "parts.lua", "reading.lua", "series_maps.lua", "site_series.lua",
        "traffic.lua",
    }  # fmt: skip


@pytest.mark.parametrize("header", ["X-Pacs-Client-Institution", "X-Pacs-Client-Site", "X-Pacs-Gateway-Key"])
def test_every_way_to_a_service_sets_the_headers_it_believes(header: str) -> None:
    http = everything()
    ways = len(re.findall(r"proxy_pass https?://(?!store)", http))
    assert ways == 13
    assert len(re.findall(rf"proxy_set_header {header} ", http)) == ways


def test_every_way_to_a_service_is_tls_that_is_checked_under_the_services_name() -> None:
    http = everything()
    for setting in ("protocols TLSv1.2 TLSv1.3", "verify on", "server_name on"):
        assert re.findall(rf"proxy_ssl_{setting.split()[0]} .*;", http) == [f"proxy_ssl_{setting};"]
    ways = re.findall(r"proxy_ssl_name (\S+);[^}]*?proxy_pass (https)://(\w+)", http)
    # What goes round once more over loopback is in clear, and reaches nothing but the same server.
    assert re.findall(r"proxy_pass http://(\S+);", http) == [f"127.0.0.1:{SETTINGS.again_port}"]
    assert len(ways) == len(re.findall("proxy_pass https:", http)) == 16
    assert set(ways) == {
        ("archive.pacs.svc", "https", "archive"),
        ("archive.pacs.svc", "https", "ingest"),
        ("prometheus.monitoring.svc", "https", "prometheus"),
        ("rgw.ceph.svc", "https", "store"),
    }


def test_nothing_of_a_clients_request_goes_to_the_store_and_only_a_range_of_one_object_is_asked_for() -> None:
    blocks = [block for block in everything().split("location ") if "https://store" in block]
    assert len(blocks) == 4
    for block in blocks:
        assert "proxy_pass_request_headers off;" in block
        assert "proxy_pass_request_body off;" in block
        assert "proxy_set_header Range $object_range;" in block
        assert not re.search(r"\$http_|X-Pacs|Authorization", block)


def test_what_the_gateway_asks_and_reads_itself_cannot_be_asked_for_from_outside() -> None:
    internal = re.findall(r"location =? ?(/internal/\S+) \{\s+(\S+)", everything())
    assert len(internal) == 8
    assert {first for _, first in internal} == {"internal;"}


def test_the_key_of_the_cache_names_bytes_and_every_cached_location_has_it() -> None:
    text = everything()
    assert text.count('proxy_cache_key "$object $object_range";') == 3
    # What a view shows is named by the view.
    assert text.count('proxy_cache_key "metadata $map_view $study $series";') == 1
    assert text.count("proxy_cache objects;") == 4


def test_without_a_store_everything_goes_through_the_archive() -> None:
    for word in ("https://store", "proxy_cache", "reading", "lua_shared_dict maps"):
        assert word not in nginx()


def test_the_store_is_not_reached_without_a_name_to_check() -> None:
    with pytest.raises(ValidationError, match="store_name"):
        GatewaySettings.model_validate(SETTINGS.model_dump() | {"store": "rgw:443"})


def test_only_ingest_carries_a_site_name() -> None:
    before, ingest = nginx(prometheus="prometheus:9090").split("location /ingest/ {")
    ingest, _, after = ingest.partition("location ")
    for value in ("$pacs_institution;", "$pacs_site;", "$pacs_gateway_key;"):
        assert ingest.count(value) == 1
        assert value not in before + after


def test_tls_is_1_2_and_1_3_only() -> None:
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in nginx()


def test_no_log_format_names_a_query() -> None:
    text = nginx()
    log_format = text[text.index("log_format json") : text.index("access_log")]
    assert not re.search(r"\$(request|request_uri|args|query_string|http_referer|uri)\b", log_format)
    assert "error_log stderr alert;" in text


def test_prometheus_is_absent_unless_it_is_configured() -> None:
    for word in ("https://prometheus", "auth_request", "limit_req", "location = /metrics/v1/write"):
        assert word not in nginx()
    assert "auth_request /internal/check-ops;" in nginx(prometheus="prometheus:9090")


def test_prometheus_is_not_reached_without_a_name_to_check() -> None:
    with pytest.raises(ValidationError, match="prometheus_name"):
        GatewaySettings.model_validate(
            SETTINGS.model_dump() | {"prometheus": "prometheus:9090", "prometheus_name": None}
        )


def test_refused_sites_reach_the_check() -> None:
    text = nginx(refused_sites=(RefusedSite(institution="yanan", site="stolen"),))
    assert '["yanan/stolen"] = true' in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "pacs.local.test; include /etc/passwd"),
        ("domain", "PACS"),
        ("archive", "archive:8080; }"),
        ("archive", "http://archive"),
        ("port", 0),
        ("workers", 0),
        ("surprise", 1),
    ],
)
def test_a_setting_of_the_wrong_form_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate(SETTINGS.model_dump() | {field: value})


def test_every_problem_says_what_to_do() -> None:
    for document in PROBLEMS.values():
        assert document["action"]
        assert str(document["type"]).startswith("urn:pacs:problem:")
        assert json.dumps(document) in nginx().replace("\\'", "'")
