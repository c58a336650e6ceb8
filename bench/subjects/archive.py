"""Our archive as it runs in the region: PostgreSQL of its own, durable, and the gateway in front of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

from bench.network import free_port
from bench.processes import guarded
from bench.servers.archive import ArchiveServer
from bench.servers.gateway import Gateway
from bench.servers.postgres import PostgresServer
from bench.servers.region import ARCHIVE_NAME, NAMES, Region
from bench.subjects.subject import CALLING_AE, DimseAddress, Servers, WebAddress


class _Guarded(ArchiveServer):
    """An archive that does not outlive the comparison."""

    def command(self, *words: str) -> Sequence[str]:
        return guarded(super().command(*words))

    def stop(self, number: signal.Signals = signal.SIGKILL) -> int:
        """At once: nobody reads its files any more."""
        return super().stop(number)


class Archive(Servers):
    """`python -m services.archive` on the file system store."""

    name = "archive"

    def __init__(self) -> None:
        super().__init__()
        self._dimse = DimseAddress(0, "PACS")
        self._destination = free_port()
        self._web = WebAddress("")

    def start(self, directory: Path) -> None:
        region = Region(directory / "region")
        postgres = PostgresServer(_made(directory / "postgres"), durable=True)
        postgres.initialise()
        postgres.start()
        self._running.append(postgres)
        shown = region.server(ARCHIVE_NAME)
        tls = {"PACS_TLS_CERTIFICATE_FILE": str(shown.certificate), "PACS_TLS_KEY_FILE": str(shown.key)}
        archive = _Guarded(directory, postgres.new_database(), region.jwks, **tls, **self._moving())
        archive.start()
        self._running.append(archive)
        public, internal = archive.ports["http"], archive.ports["internal"]
        gateway = Gateway(_made(directory / "gateway"), region, public=public, internal=internal)
        gateway.start()
        self._running.append(gateway)
        self._dimse = DimseAddress(archive.ports["dimse"], "PACS")
        self._web = WebAddress(
            f"https://{NAMES.gateway_name}:{gateway.port}/dicom-web",
            {"Authorization": f"Bearer {region.token()}"},
            region.root,
        )

    def dimse(self) -> DimseAddress:
        return self._dimse

    def web(self) -> WebAddress:
        return self._web

    def destination(self) -> int:
        return self._destination

    def _moving(self) -> dict[str, str]:
        """The client may ask for C-MOVE to itself."""
        caller = {"ae_title": CALLING_AE, "network": "127.0.0.0/8", "moves_to": [CALLING_AE]}
        receiver = {"ae_title": CALLING_AE, "host": "127.0.0.1", "port": self._destination}
        return {
            "PACS_DIMSE_CALLERS": json.dumps([caller]),
            "PACS_DIMSE_DESTINATIONS": json.dumps([receiver]),
        }

    def configuration(self) -> str:
        return (
            "the product's defaults behind the product's gateway (TLS 1.3, a token with every request), packs in the"
            " file system; every answer after fdatasync; PostgreSQL with fsync on"
        )


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory
