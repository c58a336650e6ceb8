"""Routes and registries."""

from __future__ import annotations

import json
import socket

import pytest

from cli.machine import network


def routes(**destinations: str) -> str:
    return json.dumps([{"dst": dst, "dev": dev} for dev, dst in destinations.items()])


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (routes(eth0="default"), True),
        (routes(eth0="10.90.0.0/16"), False),
        (routes(eth0="10.90.0.7"), False),
        (routes(eth0="192.168.1.0/24"), True),
        (routes(pacs0="10.90.0.0/24"), True),
        ("", True),
    ],
)
def test_a_network_of_the_machine_must_not_be_one_of_the_regions(text: str, fits: bool) -> None:
    check = network.overlap({"network.management": "10.90.0.0/24"}, ("pacs0",), text)
    assert check.outcome == ("ok" if fits else "missing")
    assert fits or "network.management" in check.found


def test_a_registry_that_does_not_answer_names_the_client_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{unused.getsockname()[1]}/simple"
        check = network.registry(network.Registry("pip", "the Python environment", address))
    assert check.outcome == "warn"
    assert "pip" in check.action


def test_a_registry_that_answers_is_not_downloaded_from() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = network.registry(network.Registry("go", "tools", f"http://127.0.0.1:{port}"))
        connection, _ = server.accept()
        connection.settimeout(5)
        assert connection.recv(1) == b""
        connection.close()
    assert check.outcome == "ok"


def test_a_mirror_that_pip_is_set_to_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.org/simple")
    monkeypatch.setenv("GOPROXY", "https://goproxy.example.org,direct")
    found = {entry.client: entry.url for entry in network.registries()}
    assert found["pip and uv"] == "https://mirror.example.org/simple"
    assert found["go"] == "https://goproxy.example.org"


def test_sources_of_apt_are_read_in_both_forms() -> None:
    assert network.apt_url(["deb [signed-by=/x] http://one.example.org/debian bookworm main"]).startswith(
        "http://one"
    )
    assert network.apt_url(["Types: deb\nURIs: http://two.example.org/debian\n"]).startswith("http://two")
    assert network.apt_url([]) == "http://deb.debian.org/debian"
