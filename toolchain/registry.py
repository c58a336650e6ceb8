"""A container registry that images are pushed to (OCI distribution specification 1.1), over TLS only.

What is there already is not sent again: an image whose tag has our digest, and every blob the registry knows.
So a push that was cut off continues when it is run again.
"""

from __future__ import annotations

import json
import ssl
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import httpx

from toolchain.errors import RegistryError
from toolchain.registry_login import Credentials, Login

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0
ATTEMPTS = 3  # of one blob, when the connection is cut
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Pushed:
    """What a push did: the manifest's digest, and the bytes that had to be sent."""

    digest: str
    sent: int


class Registry:
    """One registry, `host[:port]/path`; images lie under the path, one repository a name."""

    def __init__(
        self,
        name: str,
        credentials: Credentials | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.name = name
        host, _, self._path = name.partition("/")
        self._base = f"https://{host}"
        # The machine's own trust store: a site's CA is there, not in a Python package.
        self._client = httpx.Client(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            verify=ssl.create_default_context(),
            transport=transport,
        )
        self._login = Login(self._base, credentials, self._client)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def push(self, archive: Path, image: str, report: Callable[[int, int], None]) -> Pushed:
        """Send the OCI archive as `image` (`name:tag`); `report` gets bytes so far and in all.

        Raises RegistryError. The tag is written last: what it names is complete.
        """
        name, _, tag = image.partition(":")
        repository = f"{self._path}/{name}" if self._path else name
        with tarfile.open(archive) as tar:
            index = json.load(_member(tar, "index.json"))
            digest = str(index["manifests"][0]["digest"])
            if self._tagged(repository, tag) == digest:
                return Pushed(digest, 0)
            manifest = _member(tar, _blob(digest)).read()
            document = json.loads(manifest)
            blobs = [document["config"], *document["layers"]]
            total, done, sent = sum(blob["size"] for blob in blobs), 0, 0
            for blob in blobs:
                if not self._has(repository, blob["digest"]):
                    self._send(repository, blob, tar, partial(_report, report, done, total))
                    sent += blob["size"]
                done += blob["size"]
                report(done, total)
        answer = self._ask(
            repository,
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            content=manifest,
            headers={"Content-Type": MANIFEST},
        )
        self._expect(answer, 201, f"the manifest of {image}")
        if self._tagged(repository, tag) != digest:
            raise RegistryError(
                f"{self.name} does not give {image} back as it was sent",
                f"its tag names {self._tagged(repository, tag)}, ours is {digest}",
                "A registry or proxy that rewrites manifests cannot serve images by digest: use another.",
            )
        return Pushed(digest, sent)

    def _tagged(self, repository: str, tag: str) -> str | None:
        answer = self._ask(
            repository, "HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST}
        )
        if answer.status_code == 404:
            return None
        self._expect(answer, 200, f"the manifest {repository}:{tag}")
        found = answer.headers.get("Docker-Content-Digest")
        return str(found) if found else None

    def _has(self, repository: str, digest: str) -> bool:
        answer = self._ask(repository, "HEAD", f"/v2/{repository}/blobs/{digest}")
        if answer.status_code == 404:
            return False
        self._expect(answer, 200, f"the blob {digest}")
        return True

    def _send(
        self, repository: str, blob: dict[str, Any], tar: tarfile.TarFile, report: Callable[[int], None]
    ) -> None:
        """One blob in one request; begun anew when the connection is cut."""
        for attempt in range(1, ATTEMPTS + 1):
            begun = self._ask(repository, "POST", f"/v2/{repository}/blobs/uploads/")
            self._expect(begun, 202, "the beginning of an upload")
            place = urljoin(self._base, begun.headers["Location"])
            joint = "&" if urlsplit(place).query else "?"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob["size"])}
            try:
                answer = self._client.put(
                    f"{place}{joint}digest={blob['digest']}",
                    content=_pieces(_member(tar, _blob(blob["digest"])), report),
                    headers=headers | self._login.headers(repository, place),
                )
            except httpx.TransportError as error:
                if attempt == ATTEMPTS:
                    raise self._unreachable(error) from error
                continue
            self._expect(answer, 201, f"the blob {blob['digest']}")
            return

    def _ask(
        self,
        repository: str,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One small request, with a log-in where the registry asks for one."""
        url = f"{self._base}{path}"
        try:
            sent = {**(headers or {}), **self._login.headers(repository, url)}
            answer = self._client.request(method, url, content=content, headers=sent)
            if answer.status_code == 401 and self._login.answer(
                repository, answer.headers.get("WWW-Authenticate", "")
            ):
                sent |= self._login.headers(repository, url)
                answer = self._client.request(method, url, content=content, headers=sent)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        return answer

    def _expect(self, answer: httpx.Response, status: int, what: str) -> None:
        if answer.status_code == status:
            return
        if answer.status_code == 401 and self._login.credentials is None:
            raise RegistryError(
                f"{self.name} asks who we are",
                "the stack names no credentials for it",
                "Name a file in images.credentials of the stack file and write username= and password= into it.",
            )
        if answer.status_code in {401, 403}:
            who = self._login.credentials.username if self._login.credentials else "nobody in particular"
            raise RegistryError(
                f"{self.name} does not let {who} push",
                f"it answered {answer.status_code} for {what}",
                "Correct the file that images.credentials names, or give that account the right to push.",
            )
        raise RegistryError(
            f"{self.name} did not take or give {what}",
            f"it answered {answer.status_code} {_words(answer)}".rstrip(),
            "Check that the name is a container registry's and that it has room, then run again: "
            "what it has is not sent twice.",
        )

    def _unreachable(self, error: httpx.TransportError) -> RegistryError:
        untrusted = _cause(error, ssl.SSLCertVerificationError)
        if untrusted is not None:
            return RegistryError(
                f"the certificate of {self.name} is not trusted",
                untrusted.verify_message,
                "Put the CA of the site into /usr/local/share/ca-certificates and run update-ca-certificates, "
                "here and on every node; nothing was sent.",
            )
        return RegistryError(
            f"the registry {self.name} cannot be reached",
            str(error) or type(error).__name__,
            "Check images.registry in the stack file, name resolution and the way to its port, then run again: "
            "what it has is not sent twice.",
        )


def _report(report: Callable[[int, int], None], done: int, total: int, have: int) -> None:
    report(done + have, total)


def _pieces(stream: IO[bytes], report: Callable[[int], None]) -> Iterator[bytes]:
    have = 0
    while piece := stream.read(_CHUNK):
        yield piece
        have += len(piece)
        report(have)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    if stream is None:
        raise RegistryError(
            f"{tar.name!s} holds no {name}", "it is not an OCI archive", "Remove it and run again."
        )
    return stream


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _words(answer: httpx.Response) -> str:
    """The registry's own words (distribution specification, error codes); none of a page of HTML."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{error['code']}: {error.get('message', '')}" for error in errors)[:300]
    except (ValueError, KeyError, TypeError):
        return ""


def _cause(
    error: BaseException | None, kind: type[ssl.SSLCertVerificationError]
) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
