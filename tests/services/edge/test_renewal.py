"""A renewal is used at once; a failed one is counted and leaves the service running."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.edge.metrics import EdgeMetrics
from services.edge.renewal import Renewer
from services.enrolment.authority import CertificateAuthority
from services.enrolment.identity import IdentityFiles, SiteName
from tests.services.edge.branch import HandClock, ReceiptOffice
from tests.services.enrolment.test_identity import certify

SITE = SiteName("pacs.local.test", "yanan", "yanchang")


class Branch:
    def __init__(self, directory: Path, office: ReceiptOffice, answer: httpx.Response, days: int) -> None:
        self.files = IdentityFiles(directory)
        self.files.pin(office.authorities.root.pem, office.authorities.root_fingerprint)
        self.files.store(certify(office.authorities, self.files.ensure_key().public_key()), SITE)
        self.registry, self.reconnected = CollectorRegistry(), 0
        transport = httpx.MockTransport(lambda _: answer)
        self.renewer = Renewer(
            self.files,
            CertificateAuthority("https://ca.pacs.local.test", ssl.create_default_context(), transport),
            self.reconnect,
            metrics=EdgeMetrics(self.registry),
            clock=HandClock(datetime.now(UTC) + timedelta(days=days)),
        )

    def reconnect(self) -> None:
        self.reconnected += 1

    def failures(self, reason: str) -> float | None:
        return self.registry.get_sample_value("pacs_edge_renewal_failures_total", {"reason": reason})


def test_a_young_certificate_is_left_alone(tmp_path: Path, office: ReceiptOffice) -> None:
    branch = Branch(tmp_path, office, httpx.Response(500), days=1)
    assert not branch.renewer.step()
    assert branch.reconnected == 0


def test_a_renewed_certificate_is_used_at_once(tmp_path: Path, office: ReceiptOffice) -> None:
    branch = Branch(tmp_path, office, httpx.Response(500), days=25)
    fresh = certify(office.authorities, branch.files.ensure_key().public_key()).decode()
    again = Branch(tmp_path, office, httpx.Response(201, json={"certChain": [fresh]}), days=25)
    assert again.renewer.step()
    assert again.reconnected == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(401, json={"message": "revoked"}), "ca-refused"),
        (httpx.Response(503), "ca-unreachable"),
    ],
)
def test_a_failed_renewal_is_counted_and_changes_nothing(
    tmp_path: Path, office: ReceiptOffice, answer: httpx.Response, reason: str
) -> None:
    branch = Branch(tmp_path, office, answer, days=25)
    before = branch.files.certificate.read_bytes()
    assert not branch.renewer.step()
    assert branch.files.certificate.read_bytes() == before
    assert branch.failures(reason) == 1
    assert branch.reconnected == 0


def test_a_ca_that_answers_for_another_key_is_not_believed(tmp_path: Path, office: ReceiptOffice) -> None:
    other = IdentityFiles(tmp_path / "other")
    other.pin(office.authorities.root.pem, office.authorities.root_fingerprint)
    foreign = certify(office.authorities, other.ensure_key().public_key()).decode()
    answer = httpx.Response(201, json={"certChain": [foreign]})
    branch = Branch(tmp_path / "mine", office, answer, days=25)
    assert not branch.renewer.step()
    assert branch.failures("identity-broken") == 1
