"""Tokens for people and tools at the centre: signing key, public JWKS, issuing (contracts section 9).

The tokens are JWTs (RFC 7519) signed with `Ed25519` (RFC 9864). Whoever verifies needs only the JWKS
file; nobody is asked.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import TypeAdapter, ValidationError

from infra.config.types import InstitutionName
from infra.pki.private_files import PkiError, clear_pem, load_key, save_key

MAX_LIFETIME = timedelta(hours=12)
EVERY = "*"
"""As an institution: the studies of all of them."""


class Scope(StrEnum):
    """What a token may do (contracts section 9); the archive judges by the same words."""

    READ = "dicomweb:read"
    STORE = "dicomweb:store"
    DELETE = "dicomweb:delete"
    WORKFLOW_READ = "workflow:read"
    WORKFLOW_WRITE = "workflow:write"
    OPS = "ops"


def ensure_token_key(directory: Path, passphrase: bytes) -> OKPKey:
    """The Ed25519 key that signs the region's tokens, made on the first call (`kid`: RFC 7638 thumbprint)."""
    path = directory / "tokens.key"
    if not path.exists():
        save_key(path, ed25519.Ed25519PrivateKey.generate(), passphrase)
    key = load_key(path, passphrase)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise PkiError(f"{path} is not an Ed25519 key; move it away and run again to make one")
    jwk = OKPKey.import_key(clear_pem(key))
    return OKPKey.import_key(
        {**jwk.as_dict(private=True), "kid": jwk.thumbprint(), "alg": "Ed25519", "use": "sig"}
    )


def public_jwks(*keys: OKPKey) -> str:
    """The JWKS document (RFC 7517 section 5) that verifiers read: public halves only, newest key first."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}, indent=1, sort_keys=True) + "\n"


def issue_token(
    key: OKPKey,
    *,
    issuer: str,
    audience: str,
    subject: str,
    institutions: Sequence[str],
    scopes: Sequence[Scope],
    now: datetime,
    lifetime: timedelta = timedelta(hours=1),
) -> str:
    """Sign a token for `subject` over the studies of `institutions` (`["*"]`: every one; none for `ops` alone).

    `issuer` is `https://pacs.<domain>`, `audience` `region:<region>` or `site:<site>`. Raises PkiError for
    a lifetime beyond 12 hours, no scope, or a `dicomweb` scope over no institution: a token that allows
    nothing is a mistake. So is the name of an institution that cannot be one.
    """
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise PkiError(f"a token may live up to {MAX_LIFETIME}; {lifetime} was asked for")
    if not scopes:
        raise PkiError("a token needs at least one scope")
    if not institutions and set(scopes) != {Scope.OPS}:
        raise PkiError("a token over studies needs at least one institution (or *)")
    if list(institutions) != [EVERY]:
        for name in institutions:
            if not _is_institution(name):
                raise PkiError(f"{name!r} names no institution: it takes a lower-case DNS label (or * alone)")
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": issued,
        "exp": issued + int(lifetime.total_seconds()),
        "jti": secrets.token_urlsafe(16),
        "institutions": list(institutions),
        "scope": " ".join(scopes),
    }
    return jwt.encode({"alg": "Ed25519", "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=["Ed25519"])


def _is_institution(name: str) -> bool:
    try:
        TypeAdapter(InstitutionName).validate_python(name)
    except ValidationError:
        return False
    return True
