"""What a registry may ask of us, and what it never gets: the protocol's corners, without a registry."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from toolchain import oci
from toolchain.errors import RegistryError
from toolchain.registry import Registry
from toolchain.registry_login import Credentials

PUSHER = Credentials("pusher", "a-password-for-tests")
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, str]:
    """An OCI archive of one small layer, and its digest."""
    layer, target = tmp_path / "layer", tmp_path / "image.tar"
    oci.write_layer([oci.File("/x", content=b"x" * 1000)], layer)
    return target, oci.write_archive("pacs.local/x:1", [layer], oci.ImageConfig(), target)


class Store:
    """The least that a registry is: it keeps blobs and tags, asks `challenge` for a log-in, and remembers requests."""

    def __init__(self, challenge: str = "", elsewhere: str = "") -> None:
        self.challenge, self.elsewhere = challenge, elsewhere
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        url = urlsplit(str(request.url))
        if url.hostname == "tokens.test":
            return httpx.Response(200, json={"token": "granted"})
        if url.hostname == "registry.test" and self.challenge and "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": self.challenge})
        return self._answer(request, url.path, parse_qs(url.query))

    def _answer(self, request: httpx.Request, path: str, query: dict[str, list[str]]) -> httpx.Response:
        last = path.rpartition("/")[2]
        if "/uploads/" in path and request.method == "POST":
            return httpx.Response(202, headers={"Location": f"{self.elsewhere}/v2/x/blobs/uploads/1?state=a"})
        if "/uploads/" in path:
            self.blobs[query["digest"][0]] = request.read()
            return httpx.Response(201)
        if "/blobs/" in path:
            return httpx.Response(200 if last in self.blobs else 404)
        if request.method == "PUT":
            self.tags[last] = oci._sha256(request.read())
            return httpx.Response(201)
        if last not in self.tags:
            return httpx.Response(404)
        return httpx.Response(200, headers={"Docker-Content-Digest": self.tags[last]})


def push(handler: Handler, archive: Path, credentials: Credentials | None = PUSHER) -> str:
    with Registry("registry.test/pacs", credentials, transport=httpx.MockTransport(handler)) as registry:
        return registry.push(archive, "x:1", lambda _have, _total: None).digest


def test_a_token_service_is_asked_for_the_repository_and_its_token_is_shown(
    archive: tuple[Path, str],
) -> None:
    store = Store('Bearer realm="https://tokens.test/t",service="registry.test"')
    assert push(store, archive[0]) == archive[1]
    asked = next(request for request in store.requests if request.url.host == "tokens.test")
    assert asked.url.params["scope"] == "repository:pacs/x:pull,push"
    assert asked.headers["Authorization"] == PUSHER.basic
    assert store.requests[-1].headers["Authorization"] == "Bearer granted"


def test_an_upload_that_is_sent_on_elsewhere_carries_no_log_in(archive: tuple[Path, str]) -> None:
    store = Store('Basic realm="x"', elsewhere="https://bucket.test")
    push(store, archive[0])
    elsewhere = [request for request in store.requests if request.url.host == "bucket.test"]
    assert elsewhere
    assert not any("Authorization" in request.headers for request in elsewhere)


def test_a_token_service_without_tls_gets_no_password(archive: tuple[Path, str]) -> None:
    store = Store('Bearer realm="http://tokens.test/t",service="registry.test"')
    with pytest.raises(RegistryError, match="without TLS"):
        push(store, archive[0])
    assert not [request for request in store.requests if request.url.host == "tokens.test"]


def test_a_registry_that_rewrites_manifests_is_refused(archive: tuple[Path, str]) -> None:
    store = Store()

    def rewriting(request: httpx.Request) -> httpx.Response:
        answer = store(request)
        if "Docker-Content-Digest" in answer.headers:
            answer.headers["Docker-Content-Digest"] = "sha256:" + "0" * 64
        return answer

    with pytest.raises(RegistryError, match="does not give x:1 back"):
        push(rewriting, archive[0])


def test_something_that_is_no_registry_is_told_with_its_answer(archive: tuple[Path, str]) -> None:
    with pytest.raises(RegistryError, match="answered 405"):
        push(lambda _request: httpx.Response(405, html="<h1>no</h1>"), archive[0])


def test_a_full_registry_is_told_in_its_own_words(archive: tuple[Path, str]) -> None:
    store = Store()

    def full(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(507, json={"errors": [{"code": "UNKNOWN", "message": "no space left"}]})
        return store(request)

    with pytest.raises(RegistryError, match="507 UNKNOWN: no space left"):
        push(full, archive[0])


def test_no_password_is_in_what_is_printed() -> None:
    assert "a-password" not in repr(PUSHER)
    assert base64.b64decode(PUSHER.basic.partition(" ")[2]) == b"pusher:a-password-for-tests"
