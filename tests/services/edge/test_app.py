"""The service as a whole: refuses a wrong host, tells its state, and is wired in one place."""

from __future__ import annotations

import errno
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from services.edge.app import Work, build
from services.edge.settings import EdgeSettings
from services.enrolment.errors import IdentityError
from services.enrolment.identity import IdentityFiles, SiteName
from tests.services.edge.branch import HandClock, ReceiptOffice, offer, seal
from tests.services.enrolment.test_identity import certify
from tests.waiting import wait_for


def settings(root: Path, **changes: object) -> EdgeSettings:
    given: dict[str, object] = {
        "region": "local",
        "institution": "yanan",
        "site": "yanchang",
        "domain": "127.0.0.1.invalid",
        "data_directory": root,
        "receipt_certificates": root / "receipts.crt",
        "edge_connect_seconds": 0.1,
    }
    return EdgeSettings.model_validate(given | changes)


@pytest.fixture
def enrolled(tmp_path: Path, office: ReceiptOffice) -> Path:
    files = IdentityFiles(tmp_path / "identity")
    files.pin(office.authorities.root.pem, office.authorities.root_fingerprint)
    name = SiteName("127.0.0.1.invalid", "yanan", "yanchang")
    files.store(certify(office.authorities, files.ensure_key().public_key(), (name.uri,)), name)
    return tmp_path


def test_a_host_that_is_not_enrolled_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as error:
        build(settings(tmp_path), registry=CollectorRegistry())
    assert "services.edge.enrol" in error.value.action


def test_a_host_enrolled_as_another_site_does_not_start(enrolled: Path) -> None:
    with pytest.raises(IdentityError, match="the settings say"):
        build(settings(enrolled, site="zhidan"), registry=CollectorRegistry())


def test_status_health_and_metrics_tell_the_same_story(enrolled: Path) -> None:
    clock = HandClock()
    pack = seal(enrolled)
    offer(enrolled, pack)
    registry = CollectorRegistry()
    # Not as a context: the threads stay off, only what can be asked is asked.
    client = TestClient(build(settings(enrolled), clock, registry))
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").status_code == 200
    status = client.get("/status").json()
    assert (status["institution"], status["site"]) == ("yanan", "yanchang")
    assert status["centre_reachable"] is False
    assert status["last_success"] is None
    expires = datetime.fromisoformat(status["certificate_expires"])
    assert timedelta(days=29) < expires - datetime.now(UTC) < timedelta(days=31)
    text = client.get("/metrics").text
    assert "pacs_edge_certificate_expiry_seconds" in text
    assert "pacs_edge_centre_reachable 0.0" in text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_fails_liveness_so_that_the_kubelet_starts_the_edge_anew(
    enrolled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise SystemExit  # no Exception: those begin again

    monkeypatch.setattr("services.edge.renewal.Renewer.run", end)
    with TestClient(build(settings(enrolled), registry=CollectorRegistry())) as client:
        wait_for(lambda: client.get("/healthz").status_code == 503, 10, "the thread has ended")
        assert "renewer" in client.get("/healthz").json()["reasons"]["threads"]


def test_every_metric_has_our_prefix_and_a_help_text(enrolled: Path) -> None:
    registry = CollectorRegistry()
    build(settings(enrolled), registry=registry)
    families = [family for family in registry.collect() if not family.name.endswith("_created")]
    assert families
    for family in families:
        assert family.name.startswith("pacs_edge_")
        assert family.documentation.endswith(".")


def test_a_thread_that_fails_begins_again_until_the_service_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.app.AGAIN_SECONDS", 0.0)
    calls: list[int] = []
    stop = threading.Event()

    def forward() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        stop.set()

    [thread] = Work(stop, {"forwarder": forward}).start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(calls) == 3


@pytest.mark.parametrize(
    "changes", [{"edge_connections": 0}, {"site": "Not A Label"}, {"edge_connect_seconds": 0}]
)
def test_settings_of_the_wrong_form_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        settings(tmp_path, **changes)
