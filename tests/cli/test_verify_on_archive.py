"""`verify` against the real archive in one process: DIMSE in, packs in memory, DICOMweb out."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from cli.verify.checks import run_checks
from cli.verify.target import DicomNode, Target
from infra.pki.tokens import ensure_token_key, issue_token, public_jwks
from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.adapters.memory_workflow import memory_workflow
from services.archive.app import Archive
from services.archive.metrics import ArchiveMetrics
from services.archive.parts import Parts
from services.archive.settings import ArchiveSettings
from services.common.clock import SystemClock


@contextmanager
def serving(application):
    """uvicorn on a port of loopback that the kernel chose."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def archive(tmp_path):
    """An archive that plays branch and centre at once, and the target that describes it."""
    key = ensure_token_key(tmp_path / "pki", b"sixteen characters and more")
    (tmp_path / "jwks").write_text(public_jwks(key))
    settings = ArchiveSettings(
        region="local", institution="yanan", site="yanchang", ae_title="YANCHANG",
        dimse_host="127.0.0.1", dimse_port=0, spool_directory=tmp_path / "spool",
        quarantine_directory=tmp_path / "quarantine", token_jwks_file=tmp_path / "jwks",
        database_url="postgresql://unused", spool_reserve_bytes=1,
        dimse_callers=[{"ae_title": "CT1", "network": "127.0.0.0/8"}],
    )  # fmt: skip
    clock = SystemClock()
    parts = Parts(MemoryStore(), MemoryIndex(), ArchiveMetrics(CollectorRegistry()), clock, memory_workflow())
    archive = Archive(settings, parts)
    archive.start()
    token = issue_token(
        key, issuer="https://pacs.test", audience="region:local", subject="test", institutions=["*"],
        scopes=["dicomweb:read"], now=datetime.now(UTC),
    )  # fmt: skip
    with serving(archive.public) as port:
        branch = DicomNode("127.0.0.1", archive.dimse.port, "YANCHANG")
        yield Target("memory", branch, "CT1", f"http://127.0.0.1:{port}", token)
    archive.stop()


def test_the_archive_passes_every_check(archive, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    report = run_checks(archive, folder, slices=30, patience=10)
    assert [check for check in report.checks if not check.passed] == []
