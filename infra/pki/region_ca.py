"""The region's authorities: one root, kept offline, and two intermediates with separate duties (RFC 5280).

```
root (20 years)            key only on the operator's machine, encrypted with the passphrase file
 |- sites (10 years)       key also in the centre's step-ca; may name nothing but sites and the CA itself
 '- servers (10 years)     key on the operator's machine; the gateway and what runs inside the cluster
```
A thief of step-ca's key can pose as a branch, which revocation ends, but not as the gateway: the `sites`
intermediate carries name constraints (RFC 5280 4.2.1.10) that every verifier checks.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.pki.private_files import PkiError, load_key, save_key, write_private

ROOT_LIFETIME = timedelta(days=20 * 365)
INTERMEDIATE_LIFETIME = timedelta(days=10 * 365)
BACKDATE = timedelta(minutes=5)  # a host whose clock is a little behind accepts what was just issued


@dataclass(frozen=True)
class RegionNames:
    """Who the authorities speak for (contracts section 2)."""

    region: str
    domain: str

    @property
    def gateway_name(self) -> str:
        """The name of DICOMweb and ingest."""
        return f"pacs.{self.domain}"

    @property
    def ca_name(self) -> str:
        """The name of enrolment and renewal."""
        return f"ca.{self.domain}"


@dataclass(frozen=True)
class Authority:
    """A certificate and the key that signs in its name."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class RegionAuthorities:
    """Root and intermediates of one region, opened."""

    names: RegionNames
    root: Authority
    sites: Authority
    servers: Authority

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 over the root certificate's DER, lower-case hex: what a branch compares before it pins."""
        return self.root.certificate.fingerprint(hashes.SHA256()).hex()


def ensure_region_ca(
    directory: Path, passphrase: bytes, names: RegionNames, now: datetime
) -> RegionAuthorities:
    """Open the region's authorities under `directory`, making on the first call what is missing.

    Raises PkiError when a key has no certificate (or the reverse), belongs to another region, or has expired.
    """
    keys = _Keys(directory, passphrase)
    root = _ensure(keys, "root", names, now, issuer=None)
    sites = _ensure(keys, "sites", names, now, issuer=root)
    servers = _ensure(keys, "servers", names, now, issuer=root)
    return RegionAuthorities(names, root, sites, servers)


def revocation_list(authorities: RegionAuthorities, revoked: list[int], now: datetime) -> bytes:
    """PEM of the CRLs that the gateway loads: one of the root and one of each intermediate.

    OpenSSL checks the whole chain, so each issuer needs a list, also an empty one. The lists live as long as
    their issuer: they are pushed to the gateway, not fetched, and a list that ran out would cut off every
    hospital of the region at once. `revoked` holds serial numbers of site certificates.
    """
    return b"".join(
        _crl(issuer, revoked if issuer is authorities.sites else [], now)
        for issuer in (authorities.root, authorities.sites, authorities.servers)
    )


def _crl(issuer: Authority, revoked: list[int], now: datetime) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(issuer.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    for serial in sorted(set(revoked)):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - BACKDATE)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class _Keys:
    directory: Path
    passphrase: bytes


def _ensure(keys: _Keys, duty: str, names: RegionNames, now: datetime, issuer: Authority | None) -> Authority:
    key_path, certificate_path = keys.directory / f"{duty}.key", keys.directory / f"{duty}.crt"
    if certificate_path.exists() and not key_path.exists():
        raise PkiError(
            f"{certificate_path} is there but its key {key_path} is not; restore it from backup. "
            "A new key would make every branch refuse the centre"
        )
    if key_path.exists():
        key = load_key(key_path, keys.passphrase)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError(f"{key_path} is not an ECDSA key; the region's authorities use P-256")
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        save_key(key_path, key, keys.passphrase)
    if not certificate_path.exists():  # also after a crash between key and certificate
        certificate = _certify(duty, key, names, now, issuer)
        write_private(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    authority = Authority(x509.load_pem_x509_certificate(certificate_path.read_bytes()), key)
    _check(certificate_path, authority, duty, names, now)
    return authority


def _check(path: Path, authority: Authority, duty: str, names: RegionNames, now: datetime) -> None:
    certificate = authority.certificate
    if certificate.public_key() != authority.key.public_key():
        raise PkiError(f"{path} and its key do not belong together; restore both from the same backup")
    if certificate.subject != _subject(duty, names):
        raise PkiError(
            f"{path} is of {certificate.subject.rfc4514_string()}, not of region {names.region}; "
            "use a state directory of its own for each region"
        )
    if certificate.not_valid_after_utc <= now:
        raise PkiError(
            f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; follow the runbook for a new root"
        )


def _subject(duty: str, names: RegionNames) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"PACS region {names.region}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{names.region} {duty} authority"),
        ]
    )


def _certify(
    duty: str, key: ec.EllipticCurvePrivateKey, names: RegionNames, now: datetime, issuer: Authority | None
) -> x509.Certificate:
    lifetime = INTERMEDIATE_LIFETIME if issuer else ROOT_LIFETIME
    signer = issuer.key if issuer else key
    signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(duty, names))
        .issuer_name(issuer.certificate.subject if issuer else _subject(duty, names))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(signer_id, critical=False)
    )
    if duty == "sites":
        builder = builder.add_extension(_only_sites(names), critical=True)
    return builder.sign(signer, hashes.SHA256())


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _only_sites(names: RegionNames) -> x509.NameConstraints:
    nowhere = [
        x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
        x509.IPAddress(ipaddress.ip_network("::/0")),
    ]
    permitted = [x509.UniformResourceIdentifier(names.domain), x509.DNSName(names.ca_name)]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=nowhere)
