"""Leaf certificates that the operator's machine issues: servers by name, and the centre's receipt key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.pki.private_files import PkiError, SigningKey, clear_pem, load_key, save_key, write_private
from infra.pki.region_ca import BACKDATE, Authority, RegionAuthorities

SERVER_LIFETIME = timedelta(days=397)
RENEW_BEFORE = SERVER_LIFETIME / 3


@dataclass(frozen=True)
class KeyPair:
    """A key and its certificate chain, leaf first, root left out (RFC 8446 4.4.2)."""

    key: SigningKey
    chain: tuple[x509.Certificate, ...]

    @property
    def key_pem(self) -> bytes:
        """The key without encryption, for a Secret."""
        return clear_pem(self.key)

    @property
    def chain_pem(self) -> bytes:
        """The certificates as one PEM file."""
        return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in self.chain)


def ensure_server_certificate(
    authorities: RegionAuthorities,
    directory: Path,
    passphrase: bytes,
    dns_names: Sequence[str],
    now: datetime,
) -> KeyPair:
    """The certificate of the server called `dns_names[0]`, kept under `directory`.

    The same key pair is returned until a third of its life is left, its names change or the issuer does, so
    that running the program twice changes nothing. Raises PkiError for no name or an unreadable key.
    """
    if not dns_names:
        raise PkiError("a server certificate needs at least one DNS name; none was given")
    key_path, chain_path = directory / f"{dns_names[0]}.key", directory / f"{dns_names[0]}.crt"
    if key_path.exists() and chain_path.exists():
        key = load_key(key_path, passphrase)
        leaf = x509.load_pem_x509_certificates(chain_path.read_bytes())[0]
        if _still_serves(leaf, key, dns_names, authorities.servers, now):
            return KeyPair(key, (leaf, authorities.servers.certificate))
    fresh = ec.generate_private_key(ec.SECP256R1())
    leaf = _server_leaf(fresh, dns_names, authorities.servers, now)
    pair = KeyPair(fresh, (leaf, authorities.servers.certificate))
    save_key(key_path, fresh, passphrase)
    write_private(chain_path, pair.chain_pem)
    return pair


def ensure_receipt_key(
    authorities: RegionAuthorities, directory: Path, passphrase: bytes, now: datetime
) -> KeyPair:
    """The Ed25519 key that signs receipts, certified by the root itself (contracts section 8).

    It lives as long as the root: receipts are kept for as long as the images are, and must stay verifiable.
    """
    key_path, path = directory / "receipts.key", directory / "receipts.crt"
    if key_path.exists() and path.exists():
        key = load_key(key_path, passphrase)
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        if (
            certificate.public_key() != key.public_key()
            or certificate.issuer != authorities.root.certificate.subject
        ):
            raise PkiError(
                f"{path} is not of {key_path} or not of this region's root; restore both from one backup. "
                "A new receipt key would leave earlier receipts without their certificate"
            )
        return KeyPair(key, (certificate,))
    if path.exists():
        raise PkiError(f"{path} is there but its key {key_path} is not; restore it from backup")
    fresh = ed25519.Ed25519PrivateKey.generate()
    certificate = _receipt_leaf(fresh, authorities, now)
    save_key(key_path, fresh, passphrase)
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))
    return KeyPair(fresh, (certificate,))


def _still_serves(
    leaf: x509.Certificate, key: SigningKey, dns_names: Sequence[str], issuer: Authority, now: datetime
) -> bool:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        leaf.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, ValueError, TypeError):  # each of them means: of another issuer
        return False
    return (
        leaf.public_key() == key.public_key()
        and names.get_values_for_type(x509.DNSName) == list(dns_names)
        and leaf.not_valid_after_utc - RENEW_BEFORE > now
    )


def _server_leaf(
    key: ec.EllipticCurvePrivateKey, dns_names: Sequence[str], issuer: Authority, now: datetime
) -> x509.Certificate:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        _leaf(key, issuer, now)
        .subject_name(_common_name(dns_names[0]))
        .not_valid_after(now + SERVER_LIFETIME)
        .add_extension(alternatives, critical=False)
        .add_extension(purposes, critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _receipt_leaf(
    key: ed25519.Ed25519PrivateKey, authorities: RegionAuthorities, now: datetime
) -> x509.Certificate:
    root = authorities.root
    return (
        _leaf(key, root, now)
        .subject_name(_common_name(f"{authorities.names.region} receipts"))
        .not_valid_after(root.certificate.not_valid_after_utc)
        # By this name verifiers tell it from every other certificate of the root.
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"spiffe://{authorities.names.domain}/receipts")]
            ),
            critical=False,
        )
        .sign(root.key, hashes.SHA256())
    )


def _common_name(name: str) -> x509.Name:
    # X.520 limits the common name to 64 characters; the names that count are the alternative ones.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _leaf(key: SigningKey, issuer: Authority, now: datetime) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
