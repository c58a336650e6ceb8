"""A site's identity on disk: `identity/` of contracts section 12.

`site.key` is made on this host and never leaves it; `site.crt` is the certificate and its intermediate, leaf
first; `root.crt` is the region's root, the only one this host believes.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.common.durable import replace_file
from services.enrolment.errors import IdentityError

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_IDENTITY = re.compile(
    rf"spiffe://(?P<domain>[a-z0-9.-]+)/institution/(?P<institution>{_LABEL})/site/(?P<site>{_LABEL})"
)


@dataclass(frozen=True)
class SiteName:
    """Who a site is: the three parts of its URI (contracts section 2)."""

    domain: str
    institution: str
    site: str

    @property
    def uri(self) -> str:
        """The name as it stands in the certificate."""
        return f"spiffe://{self.domain}/institution/{self.institution}/site/{self.site}"

    @classmethod
    def of(cls, certificate: x509.Certificate) -> SiteName:
        """Read the only subjectAltName of `certificate`. Raises ValueError where it is not one site URI."""
        try:
            names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        except x509.ExtensionNotFound:
            names = []
        if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
            raise ValueError(f"the certificate has {len(names)} names; a site has exactly one, a URI")
        match = _IDENTITY.fullmatch(names[0].value)
        if not match:
            raise ValueError(f"{names[0].value!r} is not the URI of a site")
        return cls(**match.groupdict())


@dataclass(frozen=True)
class SiteIdentity:
    """The opened files: who this host is and with which certificate it shows that."""

    name: SiteName
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def not_before(self) -> datetime:
        """When the certificate began."""
        return self.chain[0].not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the certificate ends."""
        return self.chain[0].not_valid_after_utc


class IdentityFiles:
    """Reads and writes one identity directory; every file is replaced whole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = directory / "site.key"
        self.certificate = directory / "site.crt"
        self.root = directory / "root.crt"

    def pin(self, root_pem: bytes, fingerprint: str) -> None:
        """Keep the region's root after comparing its SHA-256 with `fingerprint` (lower-case hex).

        Raises IdentityError when they differ or another root is pinned already.
        """
        try:
            root = x509.load_pem_x509_certificate(root_pem)
        except ValueError as error:
            raise IdentityError("the region root given is not a PEM certificate") from error
        seen = root.fingerprint(hashes.SHA256()).hex()
        if seen != fingerprint:
            raise IdentityError(
                f"the region root has fingerprint {seen}, the token expects {fingerprint}",
                action="Take root and token from the same region, and find out who gave you the other one.",
            )
        if self.root.exists() and self.root.read_bytes() != root_pem:
            raise IdentityError(
                f"{self.root} pins another root already",
                action="A host serves one region. Move the identity directory away to enrol it elsewhere.",
            )
        _write(self.root, root_pem, 0o644)

    def ensure_key(self) -> ec.EllipticCurvePrivateKey:
        """The site's P-256 key; made on the first call."""
        if not self.key.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            _write(self.key, pem, 0o600)
        loaded = serialization.load_pem_private_key(self.key.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise IdentityError(f"{self.key} is not an ECDSA key", action="Move it away and enrol again.")
        return loaded

    def store(self, chain_pem: bytes, expected: SiteName) -> SiteIdentity:
        """Keep a new certificate once it is shown to be ours, to name `expected`, and to be of the root."""
        chain = tuple(x509.load_pem_x509_certificates(chain_pem))
        identity = self._checked(chain, self.ensure_key())
        if identity.name != expected:
            raise IdentityError(f"the certificate names {identity.name.uri}, expected was {expected.uri}")
        _write(self.certificate, chain_pem, 0o644)
        return identity

    def load(self) -> SiteIdentity | None:
        """The identity of this host, valid or expired; None before enrolment. Raises IdentityError."""
        if not self.certificate.exists():
            return None
        try:
            chain = tuple(x509.load_pem_x509_certificates(self.certificate.read_bytes()))
        except ValueError as error:
            raise IdentityError(
                f"{self.certificate} holds no certificate", action="Enrol again with a new one-time token."
            ) from error
        return self._checked(chain, self.ensure_key())

    def tls_context(self, *, client: bool) -> ssl.SSLContext:
        """TLS 1.2 or later (BCP 195), pinned root only; `client`: with the site's certificate."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.root))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def _checked(self, chain: tuple[x509.Certificate, ...], key: ec.EllipticCurvePrivateKey) -> SiteIdentity:
        root = x509.load_pem_x509_certificate(self.root.read_bytes())
        if chain[0].public_key() != key.public_key():
            raise IdentityError(
                f"the certificate is not of the key in {self.key}",
                action="Enrol again with a new one-time token.",
            )
        try:
            for issued, issuer in zip(chain, (*chain[1:], root), strict=True):
                issued.verify_directly_issued_by(issuer)
            name = SiteName.of(chain[0])
        except (ValueError, TypeError, InvalidSignature) as error:
            raise IdentityError(
                "the certificate does not name a site under the pinned root",
                action="Enrol again with a new one-time token of this region.",
            ) from error
        return SiteIdentity(name, key, chain)


def signing_request(key: ec.EllipticCurvePrivateKey, name: SiteName) -> str:
    """A PKCS #10 request (RFC 2986) for `name`, PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.site)])
    alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name.uri)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, content, mode)
