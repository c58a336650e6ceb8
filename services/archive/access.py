"""Who may see what: bearer tokens (docs/contracts.md, section 9), and the door before every route.

A token is a JWT (RFC 7519) signed with `Ed25519` (RFC 9864) that the region or this site issued; it is verified
with a JWKS file, without asking anyone, so that a branch that is cut off still knows its users.
"""

import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.clock import Clock
from services.common.errors import Forbidden, PacsError, Unauthenticated, Unavailable
from services.common.problem import problem_of
from services.packs.footer import PackError, check_label

READ = "dicomweb:read"
STORE = "dicomweb:store"
DELETE = "dicomweb:delete"
WORKFLOW_READ = "workflow:read"
WORKFLOW_WRITE = "workflow:write"
OPS = "ops"
SCOPES = frozenset({READ, STORE, DELETE, WORKFLOW_READ, WORKFLOW_WRITE, OPS})
LONGEST_SECONDS = 12 * 3600
CLOCK_LEEWAY_SECONDS = 60
MAX_TOKEN_CHARACTERS = 8192
_LOG_IN = "Log in and send the token as `Authorization: Bearer <token>`."


@dataclass(frozen=True, slots=True)
class Access:
    """What a verified token allows until `expires` (Unix seconds). `institutions` None is every institution."""

    subject: str
    institutions: frozenset[str] | None
    scopes: frozenset[str]
    expires: int

    def require(self, scope: str) -> None:
        """Raise `Forbidden` if the token lacks `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"The token lacks the scope {scope}.", action="Ask for a token with this scope.")

    def may_store_for(self, institution: str) -> bool:
        return self.institutions is None or institution in self.institutions


class TokenVerifier:
    """Verifies tokens against a JWKS file, which is read again whenever it changes."""

    def __init__(self, jwks: Path, audiences: Collection[str], clock: Clock) -> None:
        self._path = jwks
        self._audiences = frozenset(audiences)
        self._clock = clock
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._keys: KeySet | None = None

    def verify(self, authorization: str | None) -> Access:
        """The access that an Authorization header gives.

        Raises `Unauthenticated` for a missing, malformed, expired or foreign token, and
        `Unavailable` when this service has no keys to judge by.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("There is no bearer token.", action=_LOG_IN)
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("The token is too long to be one of ours.", action=_LOG_IN)
        try:
            claims = jwt.decode(token.strip(), self.keys(), algorithms=["Ed25519"]).claims
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated("The token's signature does not hold.", action=_LOG_IN) from error
        return self._judge(claims)

    def keys(self) -> KeySet:
        """The keys of the JWKS file as it is now. Raises `Unavailable`."""
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_ino)
            with self._lock:
                if self._keys is None or version != self._version:
                    self._keys = KeySet.import_key_set(json.loads(self._path.read_bytes()))
                    self._version = version
                return self._keys
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            raise Unavailable(
                f"The token keys in {self._path} cannot be read.",
                action="Write the region's JWKS to that file.",
            ) from error

    def _judge(self, claims: Mapping[str, Any]) -> Access:
        now = self._clock.now().timestamp()
        registry = JWTClaimsRegistry(
            now=int(now), leeway=CLOCK_LEEWAY_SECONDS,
            exp={"essential": True}, sub={"essential": True}, iss={"essential": True},
        )  # fmt: skip
        try:
            registry.validate(dict(claims))
        except (JoseError, TypeError, ValueError) as error:
            raise Unauthenticated(
                "The token is expired, not valid yet or incomplete.", action=_LOG_IN
            ) from error
        if claims["exp"] > now + LONGEST_SECONDS + CLOCK_LEEWAY_SECONDS:
            raise Unauthenticated("The token lasts longer than 12 hours; none of ours does.", action=_LOG_IN)
        audience = claims.get("aud")
        named = (
            {audience}
            if isinstance(audience, str)
            else set(audience or ())
            if isinstance(audience, list)
            else set()
        )
        if not named & self._audiences:
            raise Unauthenticated("The token was made for another region or site.", action=_LOG_IN)
        institutions, scope = claims.get("institutions"), claims.get("scope")
        if not isinstance(institutions, list) or not all(isinstance(one, str) for one in institutions):
            raise Unauthenticated("The token names no institutions.", action=_LOG_IN)
        if institutions != ["*"]:
            try:
                for institution in institutions:
                    check_label(institution, "institution")
            except PackError as error:
                raise Unauthenticated(
                    "The token names an institution that cannot be one.", action=_LOG_IN
                ) from error
        if not isinstance(scope, str):
            raise Unauthenticated("The token names no scope.", action=_LOG_IN)
        return Access(
            subject=str(claims["sub"]),
            institutions=None if institutions == ["*"] else frozenset(institutions),
            scopes=frozenset(scope.split()) & SCOPES,
            expires=int(claims["exp"]),
        )


def access_of(connection: HTTPConnection) -> Access:
    """The access of the request under way. Raises `Unauthenticated` if it did not pass the door."""
    access = connection.scope.get("pacs.access")
    if not isinstance(access, Access):
        raise Unauthenticated("The request carries no verified token.", action=_LOG_IN)
    return access


class TokenDoor:
    """ASGI middleware before every route: nothing but the open paths is reached without a valid token."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, open_paths: Collection[str]) -> None:
        self._app = app
        self._verifier = verifier
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._open:
            try:
                header = HTTPConnection(scope).headers.get("authorization")
                scope["pacs.access"] = self._verifier.verify(header)
            except PacsError as error:
                await problem_of(error)(scope, receive, send)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)
