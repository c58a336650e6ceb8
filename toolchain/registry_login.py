"""Logging in to a container registry: Basic (RFC 7617), or a token of the service that the registry names.

Credentials travel in a header to the registry, or to its token service over TLS, and nowhere else.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from toolchain.errors import RegistryError

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, repr=False)
class Credentials:
    """Who pushes. Printed, it shows no password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Login:
    """The log-ins of one run, one a repository: a token is good for that repository only."""

    def __init__(self, base: str, credentials: Credentials | None, client: httpx.Client) -> None:
        self.credentials = credentials
        self._base, self._client = base, client
        self._authorization: dict[str, str] = {}

    def headers(self, repository: str, url: str) -> dict[str, str]:
        """The log-in, for the registry itself only: an upload may be sent on to a store elsewhere."""
        ours = urlsplit(url).netloc == urlsplit(self._base).netloc
        value = self._authorization.get(repository)
        return {"Authorization": value} if ours and value else {}

    def answer(self, repository: str, challenge: str) -> bool:
        """Answer a challenge (RFC 9110, 11.6.1). True: there is something new to try. Raises RegistryError."""
        before = self._authorization.get(repository)
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.credentials:
            self._authorization[repository] = self.credentials.basic
        elif scheme.lower() == "bearer":
            self._authorization[repository] = self._token(repository, dict(_CHALLENGE.findall(rest)))
        return self._authorization.get(repository) not in (None, before)

    def _token(self, repository: str, asked: dict[str, str]) -> str:
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme != "https":
            raise RegistryError(
                f"{urlsplit(self._base).netloc} names a token service without TLS",
                f"its challenge says realm {realm!r}",
                "Credentials are not sent in clear: configure the registry's token service with https.",
            )
        wanted = {"service": asked.get("service", ""), "scope": f"repository:{repository}:pull,push"}
        headers = {"Authorization": self.credentials.basic} if self.credentials else {}
        answer = self._client.get(realm, params=wanted, headers=headers)
        if answer.status_code != 200:
            raise RegistryError(
                f"the token service {urlsplit(realm).netloc} gives no token",
                f"it answered {answer.status_code}",
                "Correct the file that images.credentials names, or give that account the right to push.",
            )
        document = answer.json()
        return f"Bearer {document.get('token') or document.get('access_token')}"
