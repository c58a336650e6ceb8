"""A branch is healthy when its modalities could store: it answers C-ECHO on the hospital's network."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from pynetdicom import AE

from cli.health import _branches
from infra.config.region import RegionConfig, load_region


@pytest.fixture
def port() -> Iterator[int]:
    """A port where YANCHANG answers C-ECHO."""
    ae = AE(ae_title="YANCHANG")
    ae.require_called_aet = True
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    yield server.socket.getsockname()[1]
    server.shutdown()


def region(port: int, ae_title: str = "YANCHANG") -> RegionConfig:
    local = load_region("local")
    branch = local.branches[0].model_copy(
        update={"lan_address": "127.0.0.1", "dimse_port": port, "ae_title": ae_title}
    )
    return local.model_copy(update={"branches": [branch]})


def test_a_branch_that_answers_c_echo_is_healthy(port: int) -> None:
    assert [health.state for health in _branches(region(port))] == ["healthy"]


def test_a_branch_under_another_ae_title_is_degraded_and_says_so(port: int) -> None:
    (health,) = _branches(region(port, "ELSEWHERE"))
    assert health.state == "degraded"
    assert "ELSEWHERE" in health.seen


def test_a_branch_that_nobody_answers_for_is_pending() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (health,) = _branches(region(unused.getsockname()[1]))
    assert health.state == "pending"
