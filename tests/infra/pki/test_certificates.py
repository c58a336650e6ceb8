"""Server certificates are stable until they are due; the receipt key is never replaced by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from infra.pki.certificates import SERVER_LIFETIME, ensure_receipt_key, ensure_server_certificate
from infra.pki.private_files import PkiError
from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca
from services.packs.receipts import ReceiptVerifier

NOW = datetime(2025, 3, 1, tzinfo=UTC)
NAMES = RegionNames("local", "pacs.local.test")
PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RegionAuthorities:
    return ensure_region_ca(tmp_path_factory.mktemp("ca"), PASSPHRASE, NAMES, NOW)


def test_a_server_certificate_names_its_server_for_servers_only(
    ca: RegionAuthorities, tmp_path: Path
) -> None:
    pair = ensure_server_certificate(ca, tmp_path, PASSPHRASE, ["pacs.pacs.local.test", "gateway"], NOW)
    leaf, issuer = pair.chain
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(ca.root.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["pacs.pacs.local.test", "gateway"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("later", "names", "same"),
    [
        (timedelta(0), ["a.test"], True),
        (SERVER_LIFETIME / 2, ["a.test"], True),
        (SERVER_LIFETIME * 3 / 4, ["a.test"], False),
        (timedelta(0), ["a.test", "b.test"], False),
    ],
)
def test_a_certificate_is_kept_until_it_is_due_or_its_names_change(
    ca: RegionAuthorities, tmp_path: Path, later: timedelta, names: list[str], same: bool
) -> None:
    first = ensure_server_certificate(ca, tmp_path, PASSPHRASE, ["a.test"], NOW)
    second = ensure_server_certificate(ca, tmp_path, PASSPHRASE, names, NOW + later)
    assert (first.chain == second.chain) is same


def test_a_certificate_of_another_authority_is_issued_anew(ca: RegionAuthorities, tmp_path: Path) -> None:
    other = ensure_region_ca(tmp_path / "other", PASSPHRASE, NAMES, NOW)
    foreign = ensure_server_certificate(other, tmp_path, PASSPHRASE, ["a.test"], NOW)
    assert ensure_server_certificate(ca, tmp_path, PASSPHRASE, ["a.test"], NOW).chain != foreign.chain


def test_a_server_without_a_name_is_refused(ca: RegionAuthorities, tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="at least one DNS name"):
        ensure_server_certificate(ca, tmp_path, PASSPHRASE, [], NOW)


def test_branches_believe_the_receipt_key(ca: RegionAuthorities, tmp_path: Path) -> None:
    pair = ensure_receipt_key(ca, tmp_path, PASSPHRASE, NOW)
    assert ensure_receipt_key(ca, tmp_path, PASSPHRASE, NOW + timedelta(days=9 * 365)).chain == pair.chain
    ReceiptVerifier(ca.root.certificate, pair.chain, region="local")
    assert pair.chain[0].not_valid_after_utc == ca.root.certificate.not_valid_after_utc


def test_a_lost_receipt_key_is_not_silently_replaced(ca: RegionAuthorities, tmp_path: Path) -> None:
    ensure_receipt_key(ca, tmp_path, PASSPHRASE, NOW)
    (tmp_path / "receipts.key").unlink()
    with pytest.raises(PkiError, match="restore it from backup"):
        ensure_receipt_key(ca, tmp_path, PASSPHRASE, NOW)
