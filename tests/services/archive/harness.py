"""A whole archive on memory adapters, driven step by step: no network, no threads of its own, no waiting."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.app import Archive
from services.archive.metrics import ArchiveMetrics
from services.archive.parts import Parts
from services.archive.ports import Index, ObjectStore
from services.archive.settings import ArchiveSettings
from services.common.clock import SystemClock
from services.packs.receipts import ReceiptSigner
from tests.services.archive.tokens import Issuer

GATEWAY_KEY = "shared-with-the-gateway"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class Harness:
    """The archive of a centre: it also takes packs and signs receipts."""

    def __init__(
        self, directory: Path, *, store: ObjectStore | None = None, index: Index | None = None, **changes: Any
    ) -> None:
        self.directory, self.issuer = directory, Issuer()
        self.key = Ed25519PrivateKey.generate()
        self.signer = ReceiptSigner(self.key)
        self.store = store or MemoryStore()
        self.index = index or MemoryIndex()
        self.registry = CollectorRegistry()
        self.metrics = ArchiveMetrics(self.registry)
        self.settings = self._settings(changes)
        self.archive = Archive(self.settings, Parts(self.store, self.index, self.metrics, SystemClock()))
        self.http = TestClient(self.archive.public, raise_server_exceptions=False)
        self.internal = TestClient(self.archive.internal, raise_server_exceptions=False)

    def _settings(self, changes: dict[str, Any]) -> ArchiveSettings:
        directory = self.directory
        jwks, gateway_key = directory / "tokens.jwks", directory / "gateway.key"
        receipt_key, certificate = directory / "receipts.key", directory / "receipts.crt"
        self.issuer.write_jwks(jwks)
        gateway_key.write_text(GATEWAY_KEY + "\n")
        receipt_key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(self_signed(self.key).public_bytes(Encoding.PEM))
        values: dict[str, Any] = {
            "region": "local", "institution": "yanan", "site": "centre", "database_url": "postgresql:///unused",
            "spool_directory": directory / "spool", "quarantine_directory": directory / "quarantine",
            "store_directory": directory / "store", "token_jwks_file": jwks, "spool_reserve_bytes": 0,
            "gateway_key_file": gateway_key, "receipt_key_file": receipt_key,
            "receipt_certificate_file": certificate,
        } | changes  # fmt: skip
        return ArchiveSettings(**values)

    def settle(self) -> None:
        """Seal and commit all that waits."""
        while self.archive.sealer.unsealed_bytes or self.archive.sealer.uncommitted_packs:
            self.archive.sealer.seal_due()
            self.archive.sealer.handover.store_next()
            self.archive.sealer.handover.commit_next()

    def stow(self, *files: bytes, path: str = "/dicom-web/studies", **claims: Any) -> httpx.Response:
        """POST these files as one request."""
        boundary = uuid4().hex
        body = b"".join(
            b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (boundary.encode(), one)
            for one in files
        )
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return self.http.post(
            path,
            content=body + b"--%b--\r\n" % boundary.encode(),
            headers={"Content-Type": kind, **self.issuer.bearer(**claims)},
        )

    def keep(self, *files: bytes, **claims: Any) -> None:
        """Store these files and bring them into the index."""
        assert self.stow(*files, **claims).status_code == 200
        self.settle()

    def get(self, path: str, accept: str | None = None, **claims: Any) -> httpx.Response:
        headers = self.issuer.bearer(**claims)
        if accept is not None:
            headers["Accept"] = accept
        return self.http.get("/dicom-web" + path, headers=headers)

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 when it was never counted."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        self.archive.rendering.close()
        self.archive.log.close()


def self_signed(key: Ed25519PrivateKey) -> x509.Certificate:
    """A certificate that names the key; its chain is not this test's matter."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receipts")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None)
    )


def parts_of(response: httpx.Response) -> list[tuple[str, bytes]]:
    """Content type and content of each part of a multipart answer."""
    assert response.status_code == 200, response.text
    boundary = response.headers["content-type"].rpartition("boundary=")[2].encode()
    pieces = response.content.split(b"--" + boundary)
    assert pieces[-1].strip() == b"--"
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        kind = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-type:"))
        found.append((kind.partition(":")[2].strip(), content[:-2]))
    return found


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A centre's archive. Its disk need not survive a power cut: that is another test's matter."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)
    made = Harness(tmp_path)
    yield made
    made.close()
