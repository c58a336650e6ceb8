"""Rules of the wiring: readiness tells reasons, metrics are internal, wrong settings are named."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from starlette.testclient import TestClient

from services.archive.__main__ import main
from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_workflow import memory_workflow
from services.archive.app import Archive
from services.archive.encryption.key_ring import KeyRing
from services.archive.encryption.wrapping_keys import FileKeyProvider
from services.archive.errors import IndexUnavailable
from services.archive.metrics import ArchiveMetrics
from services.archive.parts import Parts
from services.archive.settings import ArchiveSettings
from services.common.clock import SystemClock
from tests.services.archive.contract_object_store import CONTENT, put
from tests.services.archive.encryption.keys import Region, TurnedClock, write_wrapping_keys
from tests.services.archive.harness import Harness, harness
from tests.services.archive.s3_double import S3Double
from tests.services.archive.samples import synthetic

__all__ = ["harness"]

LEAST: dict[str, Any] = {
    "region": "local", "institution": "yanan", "site": "centre", "database_url": "postgresql:///x",
}  # fmt: skip


class AwayIndex(MemoryIndex):
    """An index that does not answer."""

    def ping(self) -> None:
        raise IndexUnavailable("The index database does not answer.")


def test_alive_and_ready_are_two_things(tmp_path: Path) -> None:
    archive = Harness(tmp_path, index=AwayIndex())
    try:
        archive.archive.bring_up_to_date()
        assert archive.http.get("/healthz").status_code == 200
        answer = archive.http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == {"index": "The index database does not answer."}
        assert archive.counted("pacs_archive_dependency_up", dependency="index") == 0
        assert archive.counted("pacs_archive_dependency_up", dependency="store") == 1
    finally:
        archive.close()


def test_it_is_not_ready_while_the_keys_of_what_is_stored_cannot_be_opened(
    harness: Harness, tmp_path: Path
) -> None:
    write_wrapping_keys(tmp_path / "keys.json")
    region = Region(S3Double(), tmp_path / "keys.json", TurnedClock())
    put(region.store, CONTENT)
    settings = harness.settings.model_copy(update={"spool_directory": tmp_path / "spool2"})
    metrics = ArchiveMetrics(CollectorRegistry())
    archive = Archive(
        settings, Parts(region.store, MemoryIndex(), metrics, SystemClock(), memory_workflow(), region.keys)
    )
    try:
        archive.bring_up_to_date()
        http = TestClient(archive.public)
        assert http.get("/readyz").status_code == 200
        write_wrapping_keys(tmp_path / "keys.json")
        region.ring = KeyRing(
            "local", FileKeyProvider(tmp_path / "keys.json", "local"), region.clear, region.clock
        )
        region.keys.ring = region.ring
        reasons = http.get("/readyz").json()["reasons"]
        assert reasons == {"keys": "The keys of encryption at rest cannot be opened."}
    finally:
        archive.log.close()


def test_it_is_not_ready_before_the_schema_is_current_or_with_a_full_spool(tmp_path: Path) -> None:
    archive = Harness(tmp_path, spool_reserve_bytes=1 << 60)
    try:
        reasons = archive.http.get("/readyz").json()["reasons"]
        assert reasons.keys() == {"index", "spool"}
    finally:
        archive.close()


def test_it_is_not_alive_when_a_thread_that_it_needs_has_ended(harness: Harness) -> None:
    assert harness.http.get("/healthz").status_code == 200
    harness.archive.log.close()
    answer = harness.http.get("/healthz")
    assert answer.status_code == 503
    assert "fdatasync" in answer.json()["reasons"]["threads"]


def test_the_gauges_show_what_waits_to_be_sealed(harness: Harness) -> None:
    content = synthetic("1.1")
    harness.stow(content)
    assert harness.counted("pacs_archive_unsealed_bytes") == len(content)
    assert harness.counted("pacs_archive_unsealed_oldest_age_seconds") > 0
    harness.settle()
    assert harness.counted("pacs_archive_unsealed_bytes") == 0
    assert harness.counted("pacs_archive_unsealed_oldest_age_seconds") == 0
    assert harness.counted("pacs_archive_sealed_packs_total") == 1
    assert harness.counted("pacs_archive_pack_commit_seconds_count", outcome="committed") == 1
    assert harness.counted("pacs_archive_store_operation_seconds_count", operation="put", outcome="ok") == 0


def test_requests_are_timed_by_route_and_never_by_path(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    harness.get("/studies/1.2.3/metadata")
    labels = {"method": "GET", "route": "/dicom-web/studies/{study}/metadata", "status": "200"}
    assert harness.counted("pacs_archive_request_seconds_count", **labels) == 1
    text = harness.internal.get("/metrics").text
    assert "1.2.3" not in text
    for line in text.splitlines():
        assert line.startswith(("# ", "pacs_archive_")), line


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"database_url": None}, "PACS_DATABASE_URL_FILE"), ({"store": "rgw"}, "PACS_STORE_ENDPOINT"),
        ({"institution": "Yan An"}, "institution"), ({"ae_title": "SEVENTEEN-LETTERS"}, "ae_title"),
        ({"ae_title": " PACS"}, "ae_title"), ({"gateway_key_file": "/x"}, "PACS_RECEIPT_KEY_FILE"),
        ({"receipt_key_file": "/x"}, "PACS_RECEIPT_CERTIFICATE_FILE"),
        ({"tls_key_file": "/x"}, "PACS_TLS_CERTIFICATE_FILE"), ({"tls_certificate_file": "/x"}, "PACS_TLS_KEY_FILE"),
        ({"outbox_directory": "/x"}, "PACS_RECEIPTS_DIRECTORY"), ({"http_port": 70000}, "http_port"),
        ({"store": "tape"}, "store"), ({"dimse_callers": [{"ae_title": "CT1"}]}, "network"),
        ({"dimse_callers": [{"ae_title": " ", "network": "10.0.0.0/8"}]}, "ae_title"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        ArchiveSettings(**(LEAST | changes))


def test_secrets_are_not_printed(tmp_path: Path) -> None:
    settings = ArchiveSettings(**(LEAST | {"database_url": "postgresql://u:hunter2@h/x"}))
    assert "hunter2" not in repr(settings)
    (tmp_path / "url").write_text("postgresql://from/file\n")
    settings = ArchiveSettings(**(LEAST | {"database_url_file": tmp_path / "url"}))
    assert settings.dsn == "postgresql://from/file"
    (tmp_path / "url").write_text("\n")
    with pytest.raises(ValueError, match="empty"):
        _ = settings.dsn


def test_a_process_without_settings_says_which_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PACS_REGION", "PACS_INSTITUTION", "PACS_SITE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["serve"]) == 2
    errors = capsys.readouterr().err
    assert "PACS_REGION" in errors
    assert "PACS_SITE" in errors


def test_a_receipt_key_that_is_not_its_certificates_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    Harness(second).close()
    with pytest.raises(ValueError, match="not the certificate"):
        Harness(first, receipt_certificate_file=second / "receipts.crt")
