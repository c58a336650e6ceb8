"""Tokens as the region's issuer makes them, for tests."""

import json
import time
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import OKPKey

ISSUER = "https://pacs.local.test"


class Issuer:
    """One signing key and its JWKS."""

    def __init__(self, kid: str = "region-1") -> None:
        self._key = OKPKey.generate_key("Ed25519", {"kid": kid})
        self._kid = kid

    def jwks(self) -> str:
        """The document that verifiers read."""
        return json.dumps({"keys": [self._key.as_dict(private=False)]})

    def write_jwks(self, path: Path) -> None:
        path.write_text(self.jwks())

    def token(self, *, now: float | None = None, **changes: Any) -> str:
        """A token to read and store everywhere unless told otherwise; a claim of None is left out."""
        issued = int(time.time() if now is None else now)
        claims = {
            "iss": ISSUER, "aud": "region:local", "sub": "dr-li", "exp": issued + 600, "institutions": ["*"],
            "scope": "dicomweb:read dicomweb:store",
        } | changes  # fmt: skip
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "Ed25519", "kid": self._kid}, kept, self._key, algorithms=["Ed25519"])

    def bearer(self, **changes: Any) -> dict[str, str]:
        """The Authorization header of such a token."""
        return {"Authorization": f"Bearer {self.token(**changes)}"}
