"""Our archive as it runs in the region: PostgreSQL of its own, durable, and the gateway in front of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

from bench.network import free_port
from bench.processes import guarded
from bench.servers.archive import INSTITUTION, ArchiveServer
from bench.servers.ceph import CephProcesses, S3Endpoint, within
from bench.servers.gateway import Gateway
from bench.servers.postgres import PostgresServer
from bench.servers.region import ARCHIVE_NAME, NAMES, Region
from bench.subjects.subject import CALLING_AE, DimseAddress, Servers, WebAddress
from infra.pki.private_files import write_private
from services.archive.encryption.wrapping_keys import WrappingKeys

_BUCKET = "packs"


class _Guarded(ArchiveServer):
    """An archive that does not outlive the comparison."""

    def command(self, *words: str) -> Sequence[str]:
        return guarded(super().command(*words))

    def stop(self, number: signal.Signals = signal.SIGKILL) -> int:
        """At once: nobody reads its files any more."""
        return super().stop(number)


class Archive(Servers):
    """`python -m services.archive` on the file system store, or on the Ceph of the unpacked root `ceph`."""

    name = "archive"

    def __init__(self, ceph: Path | None = None) -> None:
        super().__init__()
        self._ceph = ceph
        self._daemons: CephProcesses | None = None
        self._dimse = DimseAddress(0, "PACS")
        self._destination = free_port()
        self._web = self._store = self._internal = WebAddress("")

    def start(self, directory: Path) -> None:
        region = Region(directory / "region")
        postgres = PostgresServer(_made(directory / "postgres"), durable=True)
        postgres.initialise()
        postgres.start()
        self._running.append(postgres)
        shown = region.server(ARCHIVE_NAME)
        tls = {"PACS_TLS_CERTIFICATE_FILE": str(shown.certificate), "PACS_TLS_KEY_FILE": str(shown.key)}
        store = self._start_ceph(self._ceph, _made(directory / "ceph")) if self._ceph is not None else None
        kept = _in_bucket(store, region, directory) if store is not None else {}
        archive = _Guarded(directory, postgres.new_database(), region.jwks, **tls, **self._moving(), **kept)
        archive.start()
        self._running.append(archive)
        public, internal = archive.ports["http"], archive.ports["internal"]
        if store is not None:
            self._store = WebAddress(store.url, ca_file=store.ca_file)
        key = region.gateway_key.read_text().strip()
        self._internal = WebAddress(
            f"https://{ARCHIVE_NAME}:{internal}/reading/v1",
            {"X-Pacs-Gateway-Key": key, "X-Pacs-Institutions": INSTITUTION},
            region.root,
        )
        gateway = Gateway(_made(directory / "gateway"), region, public=public, internal=internal, store=store)
        gateway.start()
        self._running.append(gateway)
        self._dimse = DimseAddress(archive.ports["dimse"], "PACS")
        self._web = WebAddress(
            f"https://{NAMES.gateway_name}:{gateway.port}/dicom-web",
            {"Authorization": f"Bearer {region.token()}"},
            region.root,
        )

    def stop(self) -> None:
        super().stop()
        if self._daemons is not None:
            self._daemons.stop()
            self._daemons = None

    def roots(self) -> Sequence[int]:
        return [*super().roots(), *self.daemons()]

    def dimse(self) -> DimseAddress:
        return self._dimse

    def web(self) -> WebAddress:
        return self._web

    def destination(self) -> int:
        return self._destination

    def store(self) -> WebAddress:
        """The object store behind it."""
        return self._store

    def internal(self) -> WebAddress:
        """Where it tells the gateway which bytes lie where (contracts, section 22)."""
        return self._internal

    def daemons(self) -> Sequence[int]:
        """The processes of the object store."""
        return self._daemons.pids if self._daemons is not None else []

    def _start_ceph(self, root: Path, directory: Path) -> S3Endpoint:
        self._daemons = CephProcesses(directory, within(root, directory))
        endpoint = self._daemons.start()
        endpoint.make_bucket(_BUCKET)
        return endpoint

    def _moving(self) -> dict[str, str]:
        """The client may ask for C-MOVE to itself."""
        caller = {"ae_title": CALLING_AE, "network": "127.0.0.0/8", "moves_to": [CALLING_AE]}
        receiver = {"ae_title": CALLING_AE, "host": "127.0.0.1", "port": self._destination}
        return {
            "PACS_DIMSE_CALLERS": json.dumps([caller]),
            "PACS_DIMSE_DESTINATIONS": json.dumps([receiver]),
        }

    def configuration(self) -> str:
        where = (
            "the file system"
            if self._ceph is None
            else "Ceph, encrypted (one OSD and radosgw of the product's image)"
        )
        return (
            "the product's defaults behind the product's gateway (TLS 1.3, a token with every request), packs in"
            f" {where}; every answer after fdatasync; PostgreSQL with fsync on"
        )


def _in_bucket(store: S3Endpoint, region: Region, directory: Path) -> dict[str, str]:
    """What the archive is told of the bucket, and of the gateway that may read it."""
    files = {
        "access": store.access_key.encode(), "secret": store.secret_key.encode(),
        "wrapping": WrappingKeys.generate(NAMES.region, "2026-01-01T00:00:00Z").document(),
    }  # fmt: skip
    receipts = region.receipts()
    for name, content in files.items():
        write_private(directory / name, content)
    return {
        "PACS_STORE": "rgw", "PACS_STORE_ENDPOINT": store.url, "PACS_STORE_BUCKET": _BUCKET,
        "PACS_STORE_ACCESS_KEY_FILE": str(directory / "access"), "PACS_STORE_SECRET_KEY_FILE": str(directory / "secret"),
        "PACS_STORE_CA_FILE": str(store.ca_file), "PACS_WRAPPING_KEYS_FILE": str(directory / "wrapping"),
        "PACS_GATEWAY_KEY_FILE": str(region.gateway_key), "PACS_RECEIPT_KEY_FILE": str(receipts.key),
        "PACS_RECEIPT_CERTIFICATE_FILE": str(receipts.certificate),
    }  # fmt: skip


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory
