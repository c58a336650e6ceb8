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


def nginx(**changes: object) -> str:
    return render(SETTINGS.model_copy(update=changes))["nginx.conf"]


def test_the_same_settings_give_the_same_files() -> None:
    assert render(SETTINGS) == render(SETTINGS)
    assert set(render(SETTINGS)) == {
        "nginx.conf", "client_identity.lua", "site_series.lua", "traffic.lua",
    }  # fmt: skip


@pytest.mark.parametrize("header", ["X-Pacs-Client-Institution", "X-Pacs-Client-Site", "X-Pacs-Gateway-Key"])
def test_every_way_to_a_service_sets_the_headers_it_believes(header: str) -> None:
    text = nginx(prometheus="prometheus.monitoring:9090")
    http = text[text.index("http {") :]
    ways = len(re.findall(r"proxy_pass http", http))
    assert ways == 6
    assert len(re.findall(rf"proxy_set_header {header} ", http)) == ways


def test_every_way_to_a_service_is_tls_that_is_checked_under_the_services_name() -> None:
    text = nginx(prometheus="prometheus.monitoring:9090")
    http = text[text.index("http {") :]
    for setting in ("protocols TLSv1.2 TLSv1.3", "verify on", "server_name on"):
        assert re.findall(rf"proxy_ssl_{setting.split()[0]} .*;", http) == [f"proxy_ssl_{setting};"]
    ways = re.findall(r"proxy_ssl_name (\S+);[^}]*?proxy_pass (\w+)://(\w+)", http)
    assert len(ways) == len(re.findall("proxy_pass http", http)) == 6
    assert set(ways) == {
        ("archive.pacs.svc", "https", "archive"),
        ("archive.pacs.svc", "https", "ingest"),
        ("prometheus.monitoring.svc", "https", "prometheus"),
    }


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
