"""The region's authorities are made once, belong together, and the root's key is never in clear on disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from infra.pki.private_files import PkiError, ensure_secret, read_passphrase
from infra.pki.region_ca import RegionNames, ensure_region_ca, revocation_list

NOW = datetime(2025, 3, 1, tzinfo=UTC)
NAMES = RegionNames("local", "pacs.local.test")
PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ca")
    ensure_region_ca(directory, PASSPHRASE, NAMES, NOW)
    return directory


def copy_of(directory: Path, target: Path) -> Path:
    for file in directory.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_the_second_call_opens_what_the_first_made(directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    first = ensure_region_ca(directory, PASSPHRASE, NAMES, NOW)
    again = ensure_region_ca(directory, PASSPHRASE, NAMES, NOW + timedelta(days=1))
    assert [a.certificate for a in (again.root, again.sites, again.servers)] == [
        a.certificate for a in (first.root, first.sites, first.servers)
    ]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_keys_are_encrypted_and_private(directory: Path) -> None:
    for path in directory.glob("*.key"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()


def test_intermediates_are_of_the_root_and_cannot_make_authorities(directory: Path) -> None:
    ca = ensure_region_ca(directory, PASSPHRASE, NAMES, NOW)
    for authority in (ca.sites, ca.servers):
        authority.certificate.verify_directly_issued_by(ca.root.certificate)
        limits = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert limits.critical
        assert limits.value.path_length == 0


def test_the_sites_authority_may_name_sites_and_the_ca_and_nothing_else(directory: Path) -> None:
    ca = ensure_region_ca(directory, PASSPHRASE, NAMES, NOW)
    constraints = ca.sites.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [
        x509.UniformResourceIdentifier("pacs.local.test"),
        x509.DNSName("ca.pacs.local.test"),
    ]


def test_a_wrong_passphrase_is_refused_with_what_to_do(directory: Path) -> None:
    with pytest.raises(PkiError, match="passphrase is another one"):
        ensure_region_ca(directory, b"some other passphrase", NAMES, NOW)


def test_a_certificate_without_its_key_is_never_replaced(directory: Path, tmp_path: Path) -> None:
    copied = copy_of(directory, tmp_path)
    (copied / "root.key").unlink()
    with pytest.raises(PkiError, match="restore it from backup"):
        ensure_region_ca(copied, PASSPHRASE, NAMES, NOW)
    assert not (copied / "root.key").exists()


def test_a_crash_between_key_and_certificate_is_completed_with_the_same_key(
    directory: Path, tmp_path: Path
) -> None:
    copied = copy_of(directory, tmp_path)
    (copied / "sites.crt").unlink()
    ca = ensure_region_ca(copied, PASSPHRASE, NAMES, NOW)
    assert (
        ca.sites.key.public_key()
        == ensure_region_ca(directory, PASSPHRASE, NAMES, NOW).sites.key.public_key()
    )


def test_files_of_another_region_are_not_used(directory: Path) -> None:
    with pytest.raises(PkiError, match="not of region other"):
        ensure_region_ca(directory, PASSPHRASE, RegionNames("other", "pacs.other.test"), NOW)


def test_files_of_two_backups_are_not_mixed(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ensure_region_ca(other, PASSPHRASE, NAMES, NOW)
    copied = tmp_path / "mixed"
    copied.mkdir()
    copy_of(directory, copied)
    (copied / "root.key").write_bytes((other / "root.key").read_bytes())
    with pytest.raises(PkiError, match="do not belong together"):
        ensure_region_ca(copied, PASSPHRASE, NAMES, NOW)


def test_an_expired_root_is_refused(directory: Path) -> None:
    with pytest.raises(PkiError, match="expired"):
        ensure_region_ca(directory, PASSPHRASE, NAMES, NOW + timedelta(days=21 * 365))


def test_there_is_a_revocation_list_for_every_authority_and_it_outlives_any_update(directory: Path) -> None:
    ca = ensure_region_ca(directory, PASSPHRASE, NAMES, NOW)
    text = revocation_list(ca, [7, 7, 5], NOW)
    parts = [
        x509.load_pem_x509_crl(part + b"-----END X509 CRL-----\n")
        for part in text.split(b"-----END X509 CRL-----\n")[:-1]
    ]
    assert [crl.issuer for crl in parts] == [a.certificate.subject for a in (ca.root, ca.sites, ca.servers)]
    assert [entry.serial_number for entry in parts[1]] == [5, 7]
    assert [len(parts[0]), len(parts[2])] == [0, 0]
    for crl, authority in zip(parts, (ca.root, ca.sites, ca.servers), strict=True):
        assert crl.is_signature_valid(authority.key.public_key())
        assert crl.next_update_utc == authority.certificate.not_valid_after_utc


def test_a_passphrase_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("a passphrase for tests only\n")
    path.chmod(0o640)
    with pytest.raises(PkiError, match="chmod 600"):
        read_passphrase(path)
    path.chmod(0o600)
    assert read_passphrase(path) == PASSPHRASE
    path.write_text("short")
    with pytest.raises(PkiError, match="at least 16"):
        read_passphrase(path)
    with pytest.raises(PkiError, match="cannot be read"):
        read_passphrase(tmp_path / "none")


def test_a_shared_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    secret = ensure_secret(path)
    assert len(secret) >= 32
    assert ensure_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600
