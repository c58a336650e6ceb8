"""The client of the region's step-ca: sign a first request, renew a certificate, also an expired one."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from urllib.parse import urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey

from services.common.clock import Clock
from services.enrolment.errors import CaRefused, CaUnreachable
from services.enrolment.identity import SiteIdentity

RENEW_TOKEN_SECONDS = 300


class CertificateAuthority:
    """Speaks to step-ca at `url` (`https://ca.<domain>`), whose certificate is of the pinned root."""

    def __init__(
        self, url: str, context: ssl.SSLContext, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.Client(verify=context, timeout=20.0, transport=transport, trust_env=False)

    def sign(self, request_pem: str, one_time_token: str) -> bytes:
        """Exchange a CSR and a one-time token for a certificate chain, PEM, leaf first.

        Raises CaRefused (token used, expired or for other names) or CaUnreachable.
        """
        return self._certificate("/1.0/sign", body={"csr": request_pem, "ott": one_time_token})

    def renew(self, identity: SiteIdentity, clock: Clock) -> bytes:
        """A new certificate for the same key and name, PEM chain, leaf first.

        Proof is a token signed with the site's key instead of a client certificate, because TLS would refuse
        an expired one: the same way works before expiry and 100 days after it.
        Raises CaRefused (revoked, or the CA does not know this site) or CaUnreachable.
        """
        token = self._renewal_token(identity, clock)
        return self._certificate("/1.0/renew", headers={"Authorization": f"Bearer {token}"})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _renewal_token(self, identity: SiteIdentity, clock: Clock) -> str:
        issued = int(clock.now().timestamp())
        der = [certificate.public_bytes(serialization.Encoding.DER) for certificate in identity.chain]
        header = {
            "alg": "ES256",
            "typ": "JWT",
            # step-ca's own member: a chain whose validity period is not checked, unlike RFC 7515's x5c.
            "x5cInsecure": [base64.b64encode(certificate).decode("ascii") for certificate in der],
        }
        claims = {
            "iss": "step-ca-client/1.0",
            "sub": identity.name.site,
            "aud": f"https://{urlsplit(self._url).hostname}/1.0/renew",
            "iat": issued,
            "nbf": issued,
            "exp": issued + RENEW_TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        pem = identity.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        return jws.serialize_compact(header, json.dumps(claims), ECKey.import_key(pem), registry=registry)

    def _certificate(
        self, path: str, *, body: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        try:
            answer = self._http.post(self._url + path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise CaUnreachable(
                f"{self._url} does not answer ({type(error).__name__})",
                action="Check the line and the name; the certificate in use stays valid until it expires.",
            ) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise CaUnreachable(f"{self._url} answered {answer.status_code}", action="It is tried again.")
        if answer.status_code != 201:
            raise CaRefused(
                f"{self._url}{path} answered {answer.status_code}: {_reason(answer)}",
                action="Ask the region operator for a new one-time token: each serves once, for one site.",
            )
        try:
            chain = answer.json()["certChain"]
            return "".join(chain).encode("ascii")
        except (ValueError, KeyError, TypeError) as error:
            raise CaUnreachable(
                f"{self._url} answered something that is not a certificate",
                action="Look whether a proxy answers in the CA's place; it is tried again.",
            ) from error


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
