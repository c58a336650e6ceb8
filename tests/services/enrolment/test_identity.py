"""A host believes only what fits together: key, certificate, name and pinned root."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca
from services.enrolment.errors import IdentityError
from services.enrolment.identity import IdentityFiles, SiteName, signing_request

NAMES = RegionNames("local", "pacs.local.test")
SITE = SiteName("pacs.local.test", "yanan", "yanchang")
PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RegionAuthorities:
    return ensure_region_ca(tmp_path_factory.mktemp("ca"), PASSPHRASE, NAMES, datetime.now(UTC))


def certify(
    ca: RegionAuthorities, public: ec.EllipticCurvePublicKey, uris: tuple[str, ...] = (SITE.uri,)
) -> bytes:
    """What step-ca answers: the leaf and its intermediate."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.sites.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=30))
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=True)
    leaf = builder.sign(ca.sites.key, hashes.SHA256())
    return leaf.public_bytes(Encoding.PEM) + ca.sites.pem


@pytest.fixture
def files(tmp_path: Path, ca: RegionAuthorities) -> IdentityFiles:
    files = IdentityFiles(tmp_path / "identity")
    files.pin(ca.root.pem, ca.root_fingerprint)
    return files


def test_a_certificate_of_our_key_and_name_is_kept(files: IdentityFiles, ca: RegionAuthorities) -> None:
    assert files.load() is None
    stored = files.store(certify(ca, files.ensure_key().public_key()), SITE)
    loaded = files.load()
    assert loaded is not None
    assert loaded.name == stored.name == SITE
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert files.directory.stat().st_mode & 0o777 == 0o700


def test_the_key_is_made_once(files: IdentityFiles) -> None:
    assert files.ensure_key().private_numbers() == files.ensure_key().private_numbers()


def test_a_certificate_of_another_key_is_refused(files: IdentityFiles, ca: RegionAuthorities) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(IdentityError, match="not of the key"):
        files.store(certify(ca, other), SITE)
    assert files.load() is None


@pytest.mark.parametrize(
    "uris",
    [
        (),
        (SITE.uri, SITE.uri + "2"),
        ("https://example/x",),
        ("spiffe://pacs.local.test/institution/a/site/B",),
    ],
)
def test_a_certificate_that_names_no_single_site_is_refused(
    files: IdentityFiles, ca: RegionAuthorities, uris: tuple[str, ...]
) -> None:
    with pytest.raises(IdentityError):
        files.store(certify(ca, files.ensure_key().public_key(), uris), SITE)


def test_a_certificate_for_another_site_is_refused(files: IdentityFiles, ca: RegionAuthorities) -> None:
    other = SiteName("pacs.local.test", "yanan", "zhidan")
    with pytest.raises(IdentityError, match="expected was"):
        files.store(certify(ca, files.ensure_key().public_key(), (other.uri,)), SITE)


def test_a_certificate_of_another_root_is_refused(files: IdentityFiles, tmp_path: Path) -> None:
    other = ensure_region_ca(tmp_path / "other", PASSPHRASE, NAMES, datetime.now(UTC))
    with pytest.raises(IdentityError, match="under the pinned root"):
        files.store(certify(other, files.ensure_key().public_key()), SITE)


def test_a_root_with_another_fingerprint_is_not_pinned(tmp_path: Path, ca: RegionAuthorities) -> None:
    files = IdentityFiles(tmp_path / "identity")
    with pytest.raises(IdentityError, match="fingerprint"):
        files.pin(ca.root.pem, "0" * 64)
    with pytest.raises(IdentityError, match="not a PEM certificate"):
        files.pin(b"nonsense", "0" * 64)
    assert not files.root.exists()


def test_a_pinned_root_is_never_replaced(files: IdentityFiles, tmp_path: Path) -> None:
    other = ensure_region_ca(tmp_path / "other", PASSPHRASE, NAMES, datetime.now(UTC))
    with pytest.raises(IdentityError, match="another root already"):
        files.pin(other.root.pem, other.root_fingerprint)


def test_a_damaged_certificate_file_says_what_to_do(files: IdentityFiles) -> None:
    files.certificate.write_text("damaged")
    with pytest.raises(IdentityError) as error:
        files.load()
    assert "one-time token" in error.value.action


def test_the_request_names_the_site_and_nothing_else(files: IdentityFiles) -> None:
    request = x509.load_pem_x509_csr(signing_request(files.ensure_key(), SITE).encode())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SITE.uri]
    assert len(list(names)) == 1
    assert request.is_signature_valid


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(institution=LABELS, site=LABELS)
def test_every_site_name_is_read_back_from_its_uri(institution: str, site: str) -> None:
    name = SiteName("pacs.local.test", institution, site)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name.uri)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    assert SiteName.of(certificate) == name
