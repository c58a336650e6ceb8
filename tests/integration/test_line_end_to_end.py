"""Edge, gateway and the real archive with its PostgreSQL: both ends are killed, nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from bench.network import free_port
from infra.pki.tokens import ensure_token_key, issue_token, public_jwks
from services.packs.pack import verify
from tests.integration.ingest_centre import IngestCentre
from tests.integration.postgres import database, postgres
from tests.integration.region_door import (
    ARCHIVE_NAME,
    DOMAIN,
    PASSPHRASE,
    Door,
    resolve_locally,
)
from tests.integration.test_forwarding import KILLS, Branch
from tests.services.edge.branch import ReceiptOffice
from tests.waiting import wait_for

__all__ = ["database", "postgres"]

pytestmark = pytest.mark.integration


class ArchiveProcess:
    """The centre's archive: file system store, PostgreSQL, ingest behind the gateway."""

    def __init__(self, door: Door, directory: Path, dsn: str) -> None:
        self.directory, self.door = directory, door
        (directory / "database").write_text(dsn)
        (directory / "receipts.key").write_bytes(door.receipt_key.key_pem)
        self.token_key = ensure_token_key(door.secrets, PASSPHRASE)
        (directory / "tokens.jwks").write_text(public_jwks(self.token_key))
        shown = door.server()
        self.environment = os.environ | {
            "PACS_REGION": "local",
            "PACS_INSTITUTION": "yanan",
            "PACS_SITE": "centre",
            "PACS_HTTP_HOST": "127.0.0.1",
            "PACS_HTTP_PORT": str(door.archive_port),
            "PACS_INTERNAL_PORT": str(door.ingest_port),
            "PACS_TLS_CERTIFICATE_FILE": str(shown.certificate),
            "PACS_TLS_KEY_FILE": str(shown.key),
            "PACS_DIMSE_PORT": str(free_port()),
            "PACS_SPOOL_DIRECTORY": str(directory / "spool"),
            "PACS_QUARANTINE_DIRECTORY": str(directory / "quarantine"),
            "PACS_STORE_DIRECTORY": str(directory / "store"),
            "PACS_DATABASE_URL_FILE": str(directory / "database"),
            "PACS_TOKEN_JWKS_FILE": str(directory / "tokens.jwks"),
            "PACS_GATEWAY_KEY_FILE": str(door.gateway_key),
            "PACS_RECEIPT_KEY_FILE": str(directory / "receipts.key"),
            "PACS_RECEIPT_CERTIFICATE_FILE": str(door.secrets / "receipts.crt"),
        }

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-W", "ignore", "-m", "services.archive"]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: process.poll() is not None or self.ready(), 40, "the archive is ready")
            if process.poll() is not None:
                pytest.fail((self.directory / "log").read_text()[-2000:])
            yield process
        finally:
            process.kill()
            process.wait(10)

    def ready(self) -> bool:
        url = f"https://127.0.0.1:{self.door.ingest_port}/readyz"
        with httpx.Client(verify=self.door.client_context(), trust_env=False) as http:
            try:
                return http.get(url, extensions={"sni_hostname": ARCHIVE_NAME}).status_code == 200
            except httpx.TransportError:
                return False


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path, archive_port=free_port(), prometheus_port=1)
    door.ingest_port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        with door.step_ca(), door.gateway():
            yield door


@pytest.fixture
def archive(door: Door, database: str, tmp_path: Path) -> ArchiveProcess:
    directory = tmp_path / "archive"
    (directory / "store").mkdir(parents=True)
    return ArchiveProcess(door, directory, database)


@pytest.mark.timeout(120 + 30 * KILLS)
def test_both_ends_are_killed_and_every_instance_is_there_once_with_its_receipt(
    door: Door, archive: ArchiveProcess, database: str
) -> None:
    chance = random.Random(20250302)
    # Here only for the root that proves receipts.
    office = IngestCentre(ReceiptOffice(door.secrets), door.server())
    branch = Branch(door, office, door.enrol("yanan", "both").directory.parent)
    for victim in ("edge", "archive") * max(1, KILLS // 8):
        branch.offer(4, size=chance.choice([64, 2_000_000]))
        with archive.running() as centre, branch.edge() as edge:
            time.sleep(chance.uniform(0, 0.3))  # the moment of the kill is what is random
            (edge if victim == "edge" else centre).send_signal(signal.SIGKILL)
            time.sleep(0.2)
        for pack_id in branch.sealed.keys() - branch.links():
            branch.proven(pack_id)
    with archive.running(), branch.edge():
        wait_for(lambda: not branch.links(), 60, "the outbox is empty")
        assert branch.status()["quarantine_packs"] == 0
        seen = through_dicomweb(door, archive, branch)
    expected = {
        (uid.sop_instance_uid, digest) for f in branch.sealed.values() for uid, digest in f.identities()
    }
    stored = {path.stem: verify(path) for path in (archive.directory / "store" / "packs").rglob("*.pack")}
    assert {
        pack_id: footer for pack_id, footer in stored.items() if pack_id in branch.sealed
    } == branch.sealed
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT sop_instance_uid, digest FROM instance").fetchall()
    assert sorted(rows) == sorted(expected)
    for pack_id in branch.sealed:
        branch.proven(pack_id)
    assert seen == {footer.study_uid for footer in branch.sealed.values()}


def through_dicomweb(door: Door, archive: ArchiveProcess, branch: Branch) -> set[str]:
    """The studies that a reader with a token sees through the gateway; without one it is 401."""
    token = issue_token(
        archive.token_key,
        issuer=door.url,
        audience="region:local",
        subject="reader",
        institutions=["yanan"],
        scopes=["dicomweb:read"],
        now=datetime.now(UTC),
    )
    with httpx.Client(base_url=f"https://pacs.{DOMAIN}:{door.port}", verify=door.client_context()) as http:
        assert http.get("/dicom-web/studies").status_code == 401
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
        answer = http.get("/dicom-web/studies", params={"limit": "1000"}, headers=headers)
    assert answer.status_code == 200
    return {study["0020000D"]["Value"][0] for study in json.loads(answer.content)}
