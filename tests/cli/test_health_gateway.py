"""The gateway is healthy when whoever answers at its port shows that it is the region's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cli.health import _gateway
from infra.config.region import RegionConfig, load_region
from infra.pki.region_ca import RegionNames, ensure_region_ca
from services.common.tls import server_context
from tests.services.common.test_tls import PASSPHRASE, issue

NAME = load_region("local").gateway_name


def root(directory: Path) -> Path:
    """The root certificate of a region whose keys lie in `directory`."""
    made, names = directory / "root.pem", RegionNames("local", "pacs.local.test")
    made.write_bytes(ensure_region_ca(directory, PASSPHRASE, names, datetime.now(UTC)).root.pem)
    return made


@contextmanager
def answering(directory: Path, name: str = NAME) -> Iterator[RegionConfig]:
    """The local region, with a TLS listener as its gateway that shows a certificate for `name`."""
    pair = issue(directory, name)
    (directory / "tls.crt").write_bytes(pair.chain_pem)
    (directory / "tls.key").write_bytes(pair.key_pem)
    context = server_context(directory / "tls.crt", directory / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as session:
                    session.recv(1)

        server = threading.Thread(target=serve)
        server.start()
        yield _region(listener.getsockname()[1])
        server.join()


def _region(port: int) -> RegionConfig:
    local = load_region("local")
    node = local.datacenter.nodes[0].model_copy(update={"address": "127.0.0.1"})
    return local.model_copy(
        update={
            "datacenter": local.datacenter.model_copy(update={"nodes": [node]}),
            "gateway": local.gateway.model_copy(update={"node_port": port}),
        }
    )


def test_the_regions_own_gateway_is_healthy(tmp_path: Path) -> None:
    with answering(tmp_path) as region:
        health = _gateway(region, root(tmp_path))
    assert health.state == "healthy"
    assert health.seen.startswith("TLSv1.3 at ")


def test_another_server_at_its_address_is_not_taken_for_it(tmp_path: Path) -> None:
    others = tmp_path / "others"
    with answering(others) as region:
        assert _gateway(region, root(tmp_path)).state == "down"
    with answering(others, "archive.pacs.svc") as region:
        health = _gateway(region, root(others))
    assert health.state == "down"
    assert "certificate" in health.seen


def test_without_the_regions_root_nobody_is_believed(tmp_path: Path) -> None:
    missing = tmp_path / "root.crt"
    health = _gateway(_region(1), missing)
    assert (health.state, health.seen) == ("down", f"{missing} is not there yet")
