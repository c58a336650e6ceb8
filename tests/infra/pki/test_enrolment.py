"""One-time tokens name one site; step-ca's configuration says so too and holds no secret."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from infra.pki.enrolment import (
    LABEL,
    StepCaSettings,
    ensure_provisioner_key,
    issue_enrolment_token,
    issue_revocation_token,
    site_certificate_template,
    site_identity,
    step_ca_configuration,
)
from infra.pki.region_ca import RegionNames

NOW = datetime(2025, 3, 1, tzinfo=UTC)
NAMES = RegionNames("local", "pacs.local.test")
PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ECKey:
    return ensure_provisioner_key(tmp_path_factory.mktemp("keys"), PASSPHRASE)


def test_a_token_names_one_site_one_audience_and_the_root_to_pin(key: ECKey) -> None:
    token = issue_enrolment_token(key, NAMES, "ab" * 32, institution="yanan", site="yanchang", now=NOW)
    claims = jwt.decode(token, key, algorithms=["ES256"]).claims
    assert claims["sans"] == ["spiffe://pacs.local.test/institution/yanan/site/yanchang"]
    assert claims["aud"] == "https://ca.pacs.local.test/1.0/sign"
    assert claims["sha"] == "ab" * 32
    assert claims["exp"] - claims["iat"] == 1800


def test_every_token_has_an_id_of_its_own_by_which_the_ca_knows_a_replay(key: ECKey) -> None:
    def token() -> str:
        return issue_enrolment_token(key, NAMES, "ab" * 32, institution="yanan", site="yanchang", now=NOW)

    ids = {jwt.decode(token(), key, algorithms=["ES256"]).claims["jti"] for _ in range(5)}
    assert len(ids) == 5


def test_a_revocation_token_serves_for_one_serial_and_not_for_signing(key: ECKey) -> None:
    claims = jwt.decode(issue_revocation_token(key, NAMES, 77, now=NOW), key, algorithms=["ES256"]).claims
    assert (claims["sub"], claims["aud"]) == ("77", "https://ca.pacs.local.test/1.0/revoke")
    assert "sans" not in claims


def test_the_configuration_holds_no_private_key_and_lets_expired_sites_come_back(key: ECKey) -> None:
    document = json.loads(step_ca_configuration(StepCaSettings(NAMES, site_lifetime=timedelta(days=30)), key))
    [provisioner] = document["authority"]["provisioners"]
    assert "d" not in provisioner["key"]
    assert "encryptedKey" not in provisioner
    claims = document["authority"]["claims"]
    assert claims["allowRenewalAfterExpiry"] is True
    assert claims["defaultTLSCertDuration"] == claims["maxTLSCertDuration"] == "2592000s"
    assert document["db"]["dataSource"]


def test_the_configuration_is_the_same_for_the_same_settings(key: ECKey) -> None:
    settings = StepCaSettings(NAMES)
    assert step_ca_configuration(settings, key) == step_ca_configuration(settings, key)


@pytest.mark.parametrize(
    ("uri", "fits"),
    [
        ("spiffe://pacs.local.test/institution/yanan/site/yanchang", True),
        ("spiffe://pacs.local.test/institution/a/site/b", True),
        ("spiffe://pacsxlocal.test/institution/yanan/site/yanchang", False),
        ("spiffe://pacs.local.test/institution/yanan/site/", False),
        ("spiffe://pacs.local.test/institution/-a/site/b", False),
        ("spiffe://pacs.local.test/institution/a/site/b/site/c", False),
    ],
)
def test_the_template_accepts_sites_of_this_region_only(uri: str, fits: bool) -> None:
    pattern = site_identity("pacs.local.test".replace(".", "[.]"), LABEL, LABEL)
    assert f'regexMatch "^{pattern}$"' in site_certificate_template("pacs.local.test")
    assert bool(re.fullmatch(pattern, uri)) is fits


def test_the_provisioner_key_is_made_once(tmp_path: Path) -> None:
    assert (
        ensure_provisioner_key(tmp_path, PASSPHRASE).kid == ensure_provisioner_key(tmp_path, PASSPHRASE).kid
    )
