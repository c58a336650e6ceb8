"""When a certificate is renewed: by the injected clock, at two thirds of its life, and ever after."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca
from services.enrolment.authority import CertificateAuthority
from services.enrolment.errors import CaRefused, CaUnreachable
from services.enrolment.identity import IdentityFiles, SiteIdentity, SiteName
from services.enrolment.renewal import is_due, renew_if_due
from tests.services.edge.branch import HandClock
from tests.services.enrolment.test_identity import certify

PASSPHRASE = b"a passphrase for tests only"
SITE = SiteName("pacs.local.test", "yanan", "yanchang")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RegionAuthorities:
    names = RegionNames("local", "pacs.local.test")
    return ensure_region_ca(tmp_path_factory.mktemp("ca"), PASSPHRASE, names, datetime.now(UTC))


@pytest.fixture
def files(tmp_path: Path, ca: RegionAuthorities) -> IdentityFiles:
    files = IdentityFiles(tmp_path)
    files.pin(ca.root.pem, ca.root_fingerprint)
    files.store(certify(ca, files.ensure_key().public_key()), SITE)
    return files


def authority(
    answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None
) -> CertificateAuthority:
    def respond(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    context = ssl.create_default_context()
    return CertificateAuthority("https://ca.pacs.local.test:443", context, httpx.MockTransport(respond))


def identity_of(files: IdentityFiles) -> SiteIdentity:
    identity = files.load()
    assert identity is not None
    return identity


@pytest.mark.parametrize(("days", "due"), [(0, False), (19, False), (21, True), (30, True), (130, True)])
def test_a_certificate_of_30_days_is_due_after_20_and_ever_after(
    files: IdentityFiles, days: int, due: bool
) -> None:
    assert is_due(identity_of(files), HandClock(datetime.now(UTC) + timedelta(days=days))) is due


def test_nothing_is_asked_before_it_is_due(files: IdentityFiles) -> None:
    seen: list[httpx.Request] = []
    assert renew_if_due(files, authority(httpx.Response(500), seen), HandClock()) is None
    assert seen == []


def test_the_proof_of_renewal_is_signed_by_the_site_key_and_carries_the_chain(
    files: IdentityFiles, ca: RegionAuthorities
) -> None:
    seen: list[httpx.Request] = []
    fresh = certify(ca, files.ensure_key().public_key()).decode()
    clock = HandClock(datetime.now(UTC) + timedelta(days=100))
    renewed = renew_if_due(files, authority(httpx.Response(201, json={"certChain": [fresh]}), seen), clock)
    assert renewed is not None
    assert identity_of(files).chain[0] == renewed.chain[0]
    [request] = seen
    assert (request.method, request.url.path) == ("POST", "/1.0/renew")
    token = request.headers["Authorization"].removeprefix("Bearer ")
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    registry.max_header_length = 8192  # the header carries two certificates
    proof = jws.deserialize_compact(token, ECKey.import_key(files.key.read_bytes()), registry=registry)
    claims = json.loads(proof.payload)
    assert claims["aud"] == "https://ca.pacs.local.test/1.0/renew"
    assert claims["sub"] == "yanchang"
    assert claims["exp"] - claims["iat"] <= 300
    assert len(proof.headers()["x5cInsecure"]) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401, json={"message": "certificate has been revoked"}), CaRefused),
        (httpx.Response(500), CaUnreachable),
        (httpx.Response(503), CaUnreachable),
        (httpx.Response(201, text="nonsense"), CaUnreachable),
        (httpx.Response(201, json={"certChain": 5}), CaUnreachable),
        (httpx.ConnectError("cut"), CaUnreachable),
    ],
)
def test_a_failed_renewal_leaves_the_files_as_they_were(
    files: IdentityFiles, answer: httpx.Response | Exception, error: type[Exception]
) -> None:
    before = files.certificate.read_bytes()
    with pytest.raises(error):
        renew_if_due(files, authority(answer), HandClock(datetime.now(UTC) + timedelta(days=25)))
    assert files.certificate.read_bytes() == before
