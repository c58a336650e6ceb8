"""The product's gateway: nginx with the configuration that the region renders, in front of an archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.errors import ServerError
from bench.network import free_port, listens
from bench.processes import Program
from bench.servers.ceph import STORE_NAME, S3Endpoint
from bench.servers.region import ARCHIVE_NAME, NAMES, Region
from services.gateway.rendering import render
from services.gateway.settings import GatewaySettings

_CACHE_MIB = 1024


def nginx() -> str:
    """Debian's nginx with Lua. Raises ServerError where it is not installed."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        raise ServerError(
            "there is no nginx", "it is not on PATH", "apt-get install nginx libnginx-mod-http-lua"
        )
    return found


def as_root() -> list[str]:
    """Started by root, nginx would drop to a user who cannot read private files; in its container it is their owner."""
    return ["-g", "user root;"] if os.geteuid() == 0 else []


class Gateway:
    """One nginx for one archive."""

    def __init__(
        self, directory: Path, region: Region, *, public: int, internal: int, store: S3Endpoint | None = None
    ) -> None:
        self.port = free_port()
        shown = region.server(NAMES.gateway_name)
        pages = directory / "ops"
        pages.mkdir()
        settings = GatewaySettings(
            domain=NAMES.domain,
            archive=f"127.0.0.1:{public}",
            ingest=f"127.0.0.1:{internal}",
            archive_name=ARCHIVE_NAME,
            ca=f"127.0.0.1:{free_port()}",
            port=self.port,
            tls_port=free_port(),
            ca_port=free_port(),
            status_port=free_port(),
            again_port=free_port(),
            store=store.address if store is not None else None,
            store_name=STORE_NAME if store is not None else None,
            store_root=store.ca_file if store is not None else None,
            cache=directory / "cache",
            cache_mib=_CACHE_MIB,
            certificate=shown.certificate,
            key=shown.key,
            region_root=region.root,
            revocation_list=region.revoked,
            gateway_key=region.gateway_key,
            configuration=directory,
            ops_pages=pages,
            scratch=directory,
            access_log=directory / "access.log",
        )
        for name, text in render(settings).items():
            (directory / name).write_text(text)
        self._directory = directory
        self._server: Program | None = None

    def start(self) -> None:
        self._server = Program(
            [nginx(), "-c", str(self._directory / "nginx.conf"), *as_root()],
            self._directory / "gateway.log",
            name="the gateway",
        )
        self._server.wait_until(lambda: listens(self.port), "listen")

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    @property
    def pid(self) -> int:
        if self._server is None:
            raise ServerError("the gateway is not running", "it was not started", "Start it first.")
        return self._server.pid
