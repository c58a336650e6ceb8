from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from infra import naming
from infra.config.region import RegionConfig, load_region
from infra.credentials import ensure_credentials
from tests.infra.conftest import NOW, supplies_for


@pytest.fixture
def region() -> RegionConfig:
    return load_region("local")


def test_a_second_run_gets_the_same_credentials(region: RegionConfig, tmp_path: Path) -> None:
    supplies = supplies_for(region, tmp_path)
    first = ensure_credentials(region, supplies, NOW)
    assert ensure_credentials(region, supplies, NOW + timedelta(days=7)) == first


def test_a_revoked_certificate_gives_a_new_list_once(region: RegionConfig, tmp_path: Path) -> None:
    supplies = supplies_for(region, tmp_path)
    before = ensure_credentials(region, supplies, NOW)
    gateway = region.gateway.model_copy(update={"revoked_certificates": [4711]})
    changed = region.model_copy(update={"gateway": gateway})
    after = ensure_credentials(changed, supplies, NOW + timedelta(days=1))
    assert after.revocation_list != before.revocation_list
    assert ensure_credentials(changed, supplies, NOW + timedelta(days=2)) == after


def test_servers_are_certified_for_the_names_they_are_reached_by(
    region: RegionConfig, tmp_path: Path
) -> None:
    credentials = ensure_credentials(region, supplies_for(region, tmp_path), NOW)
    for chain, name in (
        (credentials.gateway.chain, region.gateway_name),
        (credentials.archive.chain, naming.service_host(naming.ARCHIVE, naming.PACS)),
        (credentials.monitoring.chain, naming.service_host(naming.PROMETHEUS, naming.MONITORING)),
        (credentials.monitoring.chain, naming.service_host(naming.ALERTMANAGER, naming.MONITORING)),
        (credentials.object_store.chain, naming.object_store_host()),
        (credentials.database.chain, naming.database_host()),
        (credentials.database.chain, f"{naming.DATABASE_CLUSTER}-rw"),
    ):
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert name in names.get_values_for_type(x509.DNSName)


def test_everything_under_secrets_is_for_the_owner_alone(region: RegionConfig, tmp_path: Path) -> None:
    supplies = supplies_for(region, tmp_path)
    ensure_credentials(region, supplies, NOW)
    for path in supplies.secrets_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
