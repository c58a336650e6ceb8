"""Orthanc: with PostgreSQL and a configuration that is fair to it, and as it comes.

The fair one stores as durably as we do (`SyncStorageArea`, PostgreSQL's fsync), has the largest PDU, threads
and caches that do not starve, and none of what we do not do either (MD5 of each file, a closing delay). The
other sets nothing but who may ask, and keeps its index in SQLite.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.network import free_port, listens
from bench.peers import Peers
from bench.processes import Program
from bench.servers.postgres import PostgresServer
from bench.subjects.subject import CALLING_AE, DimseAddress, Servers, WebAddress

_HERE = Path(__file__).parent
_DATABASE = "orthanc"


class Orthanc(Servers):
    """One Orthanc, `fair` (PostgreSQL) or with its defaults (SQLite)."""

    def __init__(self, peers: Peers, *, fair: bool) -> None:
        super().__init__()
        self.name = "orthanc" if fair else "orthanc-defaults"
        self._peers, self._fair = peers, fair
        self._dicom, self._http, self._destination = free_port(), free_port(), free_port()

    def start(self, directory: Path) -> None:
        document: dict[str, Any] = json.loads(self._file().read_text(encoding="utf-8"))
        plugins = ["OrthancDicomWeb"]
        if self._fair:
            home = directory / "postgres"
            home.mkdir()
            postgres = PostgresServer(home, durable=True)
            postgres.initialise()
            postgres.start()
            self._running.append(postgres)
            postgres.create(_DATABASE)
            document["PostgreSQL"]["ConnectionUri"] = postgres.uri(_DATABASE)
            plugins.append("OrthancPostgreSQLIndex")
        document |= {
            "StorageDirectory": str(directory / "storage"),
            "IndexDirectory": str(directory / "index"),
            "TemporaryDirectory": str(directory),
            "DicomAet": "ORTHANC",
            "DicomPort": self._dicom,
            "HttpPort": self._http,
            "DicomModalities": {CALLING_AE: [CALLING_AE, "127.0.0.1", self._destination]},
            "Plugins": [str(self._peers.plugin(plugin)) for plugin in plugins],
        }
        configuration = directory / "orthanc.json"
        configuration.write_text(json.dumps(document, indent=1))
        server = Program(
            self._peers.command("Orthanc", str(configuration)),
            directory / "orthanc.log",
            environment=self._peers.environment,
            directory=directory,
            name="Orthanc",
        )
        self._running.append(server)
        server.wait_until(lambda: listens(self._http) and listens(self._dicom), "listen")

    def dimse(self) -> DimseAddress:
        return DimseAddress(self._dicom, "ORTHANC")

    def web(self) -> WebAddress:
        return WebAddress(f"http://127.0.0.1:{self._http}/dicom-web")

    def destination(self) -> int:
        return self._destination

    def configuration(self) -> str:
        index = "PostgreSQL with fsync on" if self._fair else "SQLite"
        return f"bench/subjects/{self._file().name}; index in {index}"

    def _file(self) -> Path:
        return _HERE / ("orthanc_fair.json" if self._fair else "orthanc_defaults.json")
