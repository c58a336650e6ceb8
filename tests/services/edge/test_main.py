"""A process that cannot run says which setting or file is wrong, and ends with 2."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from services.edge.__main__ import main


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "REGION": "local",
        "INSTITUTION": "yanan",
        "SITE": "yanchang",
        "DOMAIN": "pacs.local.test",
        "DATA_DIRECTORY": str(tmp_path),
        "EDGE_PORT": "0",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"PACS_{name}", value)
    monkeypatch.setattr("services.edge.__main__.configure", lambda *_: None)


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACS_SITE", "Not A Label")
    monkeypatch.delenv("PACS_DOMAIN")
    assert main() == 2
    said = capsys.readouterr().err
    assert "PACS_SITE" in said
    assert "PACS_DOMAIN" in said
    assert "Not A Label" not in said


def test_a_taken_port_is_told_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PACS_EDGE_PORT", str(port))
        assert main() == 2
    said = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
    assert f"ss -ltnp sport = :{port}" in said


def test_a_host_without_identity_is_told_to_enrol(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 2
    assert "services.edge.enrol" in capsys.readouterr().err
