"""First contact of a branch: the region's step-ca, how it is configured, and the one-time tokens it honours.

step-ca (smallstep certificates) signs a CSR only for the names that the token carries, and remembers each
token it has seen, so that it serves once. The certificate's content comes from the template below and from
nothing the branch sends: ADR-0005.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from infra.pki.private_files import PkiError, clear_pem, load_key, save_key
from infra.pki.region_ca import RegionNames

PROVISIONER = "branches"
TOKEN_LIFETIME = timedelta(minutes=30)
_SITE_TEMPLATE = """
{{- if ne (len .SANs) 1 }}{{ fail "a site certificate has exactly one name" }}{{ end }}
{{- $name := toString (index .SANs 0).Value }}
{{- if not (regexMatch "^IDENTITY$" $name) }}{{ fail "not a site of this region" }}{{ end }}
{{- $site := printf "/site/%s" .Subject.CommonName }}
{{- if not (hasSuffix $site $name) }}{{ fail "the subject is not the site" }}{{ end }}
{{- if not (typeIs "*ecdsa.PublicKey" .Insecure.CR.PublicKey) }}{{ fail "the key is not ECDSA" }}{{ end }}
{
  "subject": {"commonName": {{ toJson .Subject.CommonName }}},
  "uris": [{{ toJson $name }}],
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}"""
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # an institution or a site: a DNS label (contracts section 2)


@dataclass(frozen=True)
class StepCaSettings:
    """Where step-ca finds its files inside its container, and how long a site certificate lives."""

    names: RegionNames
    root: Path = Path("/run/pacs/ca/root.crt")
    certificate: Path = Path("/run/pacs/ca/sites.crt")
    key: Path = Path("/run/pacs/ca/sites.key")
    database: Path = Path("/var/lib/step-ca/db")
    address: str = ":9000"
    site_lifetime: timedelta = timedelta(days=30)


def ensure_provisioner_key(directory: Path, passphrase: bytes) -> ECKey:
    """The P-256 key that signs one-time tokens, made on the first call; step-ca has its public half only."""
    path = directory / "provisioner.key"
    if not path.exists():
        save_key(path, ec.generate_private_key(ec.SECP256R1()), passphrase)
    key = load_key(path, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} is not an ECDSA key; move it away and run again to make one")
    jwk = ECKey.import_key(clear_pem(key))
    return ECKey.import_key(
        {**jwk.as_dict(private=True), "kid": jwk.thumbprint(), "alg": "ES256", "use": "sig"}
    )


def site_identity(domain: str, institution: str, site: str) -> str:
    """The URI that names a site in its certificate (contracts section 2)."""
    return f"spiffe://{domain}/institution/{institution}/site/{site}"


def issue_enrolment_token(
    key: ECKey,
    names: RegionNames,
    root_fingerprint: str,
    *,
    institution: str,
    site: str,
    now: datetime,
    lifetime: timedelta = TOKEN_LIFETIME,
) -> str:
    """A token with which one host may once become `site` of `institution`.

    It carries the SHA-256 of the root certificate (`sha`), so that the host can check what it is told to pin.
    Deliver it in a file, never as an argument.
    """
    return _sign(
        key,
        {
            **_claims(subject=site, audience=f"https://{names.ca_name}/1.0/sign", now=now, lifetime=lifetime),
            "sans": [site_identity(names.domain, institution, site)],
            "sha": root_fingerprint,
        },
    )


def issue_revocation_token(key: ECKey, names: RegionNames, serial: int, *, now: datetime) -> str:
    """A token for step-ca's `/1.0/revoke`: the certificate with `serial` cannot be renewed any more.

    The gateway refuses it once the serial stands in its revocation list too (`region_ca.revocation_list`).
    """
    audience = f"https://{names.ca_name}/1.0/revoke"
    return _sign(key, _claims(subject=str(serial), audience=audience, now=now, lifetime=TOKEN_LIFETIME))


def step_ca_configuration(settings: StepCaSettings, provisioner_key: ECKey) -> str:
    """The text of step-ca's `ca.json`. Nothing in it is secret."""
    lifetime = _go_duration(settings.site_lifetime)
    configuration = {
        "root": str(settings.root),
        "crt": str(settings.certificate),
        "key": str(settings.key),
        "address": settings.address,
        "dnsNames": [settings.names.ca_name],
        "commonName": f"{settings.names.region} enrolment",
        "logger": {"format": "json"},
        # The database remembers used tokens and revoked serials: it must outlive the container.
        "db": {"type": "badgerv2", "dataSource": str(settings.database), "badgerFileLoadingMode": "FileIO"},
        "tls": {"minVersion": 1.2, "maxVersion": 1.3, "renegotiation": False},
        "authority": {
            "claims": {
                "minTLSCertDuration": "1s",
                "maxTLSCertDuration": lifetime,
                "defaultTLSCertDuration": lifetime,
                "disableRenewal": False,
                # A branch that was cut off for 100 days must come back by itself.
                "allowRenewalAfterExpiry": True,
            },
            "provisioners": [
                {
                    "type": "JWK",
                    "name": PROVISIONER,
                    "key": provisioner_key.as_dict(private=False),
                    "options": {"x509": {"template": site_certificate_template(settings.names.domain)}},
                }
            ],
        },
    }
    return json.dumps(configuration, indent=1, sort_keys=True) + "\n"


def site_certificate_template(domain: str) -> str:
    """The step-ca template of a site certificate: exactly one URI of this region, P-256, client use only.

    The names are the token's; what else a CSR asks for is ignored, and another key type is refused.
    """
    identity = site_identity(domain.replace(".", "[.]"), LABEL, LABEL)
    return _SITE_TEMPLATE.replace("IDENTITY", identity)


def _claims(*, subject: str, audience: str, now: datetime, lifetime: timedelta) -> dict[str, object]:
    issued = int(now.timestamp())
    return {
        "iss": PROVISIONER,
        "sub": subject,
        "aud": audience,
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(lifetime.total_seconds()),
        "jti": secrets.token_urlsafe(24),
    }


def _sign(key: ECKey, claims: dict[str, object]) -> str:
    return jwt.encode({"alg": "ES256", "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=["ES256"])


def _go_duration(duration: timedelta) -> str:
    return f"{int(duration.total_seconds())}s"
