"""Rules of access: every route denies by default, and one institution's token sees nothing of another."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from services.archive.access import TokenVerifier
from services.archive.app import OPEN_PATHS
from services.common.errors import Unauthenticated, Unavailable
from tests.services.archive.harness import AS_STORED, Harness, harness
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["harness"]

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


class Standing:
    """A clock that stands where it was put."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


def routes(app: object) -> list[tuple[str, str]]:
    """Method and a concrete path of every route of an application."""
    assert isinstance(app, Starlette)
    values = {
        "study": "1.2.3", "series": "1.2.3.1", "instance": "1.2.3.1.1", "frames": "1", "path": "7FE00010",
        "digest": "0" * 64, "pack_id": "0" * 64,
    }  # fmt: skip
    found = []
    for route in app.routes:
        assert isinstance(route, Route), "every kind of route must be walked"
        path = re.sub(r"{(\w+)(:\w+)?}", lambda match: values[match[1]], route.path)
        if path.endswith("/wado"):
            path += "?requestType=WADO&studyUID=1.2.3&seriesUID=1.2.3.1&objectUID=1.2.3.1.1"
        found += [(method, path) for method in sorted(route.methods or ())]
    return found


def test_every_route_but_health_refuses_a_request_without_a_token(harness: Harness) -> None:
    walked = routes(harness.archive.public)
    assert len(walked) > 30
    for method, path in walked:
        response = harness.http.request(method, path)
        if path in OPEN_PATHS:
            assert response.status_code in (200, 503)
            continue
        assert response.status_code == 401, f"{method} {path} answers without a token"
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert method == "HEAD" or response.json()["status"] == 401


def test_a_request_without_a_token_is_told_what_is_missing_and_where_it_belongs(harness: Harness) -> None:
    response = harness.http.get("/dicom-web/studies")
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
    assert response.headers["www-authenticate"] == 'Bearer realm="pacs"'
    problem = response.json()
    assert problem["title"] == "Not authenticated"
    assert problem["detail"] == "There is no bearer token."
    assert problem["action"] == "Log in and send the token as `Authorization: Bearer <token>`."


@pytest.mark.parametrize(
    "path",
    [
        "/studies/..;x/metadata",
        "/studies/1.2.3/series/1..2",
        "/studies/1.2.3/series/1.2/instances/%2e%2e/frames/1",
    ],
)
def test_a_url_with_something_else_than_a_uid_is_told_what_a_uid_is(harness: Harness, path: str) -> None:
    response = harness.get(path)
    assert response.status_code == 400
    assert response.json()["detail"].endswith("in the URL is not a UID.")
    assert response.json()["action"] == "A UID is 1-64 digits and dots (PS3.5 9.1)."


def test_an_escaped_way_up_in_a_url_leads_to_no_route(harness: Harness) -> None:
    assert harness.get("/studies/..%2F..%2Fetc%2Fpasswd/metadata").status_code == 404


def test_a_path_that_is_no_route_asks_for_a_token_first(harness: Harness) -> None:
    assert harness.http.get("/dicom-web/nothing").status_code == 401
    assert harness.http.get("/metrics").status_code == 401
    assert harness.get("/nothing").status_code == 404


def test_every_route_refuses_a_token_without_its_scope(harness: Harness) -> None:
    headers = harness.issuer.bearer(scope="ops")
    for method, path in routes(harness.archive.public):
        if path in OPEN_PATHS or path.startswith("/auth"):
            continue
        assert harness.http.request(method, path, headers=headers).status_code == 403, f"{method} {path}"


def test_one_institutions_token_sees_nothing_of_another(harness: Harness) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    harness.keep(synthetic("1.2.3.1.1", pixels=bytes(32)))
    foreign = harness.issuer.bearer(institutions=["zhidan"])
    own = harness.issuer.bearer(institutions=["yanan"])
    [conflict] = harness.get("/studies/1.2.3/conflicts").json()
    paths = [
        path
        for method, path in routes(harness.archive.public)
        if method == "GET" and path.startswith("/dicom-web")
    ]
    for path in [*(path for path in paths if "versions" not in path), conflict["url"]]:
        headers = {"Accept": "*/*"}
        assert harness.http.get(path, headers=headers | own).status_code == 200, path
        response = harness.http.get(path, headers=headers | foreign)
        is_list = path in ("/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances")
        if is_list or path.endswith(("/series", "/instances")):
            assert response.status_code == 204, path
        elif path.endswith("/conflicts"):
            assert response.json() == []
        else:
            assert response.status_code == 404, path
        for secret in (b"Wang", "王".encode(), b"P1", conflict["digest"].encode()):
            assert secret not in response.content, path


def test_a_token_of_no_institution_sees_nothing(harness: Harness) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    assert harness.get("/studies", institutions=[]).status_code == 204
    assert harness.get("/studies/1.2.3", AS_STORED, institutions=[]).status_code == 404


def test_an_institution_named_star_among_others_opens_nothing(harness: Harness) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    assert harness.get("/studies", institutions=["zhidan", "*"]).status_code == 401


@pytest.mark.parametrize(
    ("query", "scope", "status"),
    [
        ("?scope=dicomweb:read", "dicomweb:read", 204), ("?scope=dicomweb:store", "dicomweb:read", 403),
        ("?scope=ops", "ops dicomweb:read", 204), ("", "dicomweb:read", 400), ("?scope=all", "dicomweb:read", 400),
        ("?scope=dicomweb:read&scope=ops", "dicomweb:read", 403),
    ],
)  # fmt: skip
def test_the_gateways_check_answers_for_the_scope_it_names(
    harness: Harness, query: str, scope: str, status: int
) -> None:
    headers = harness.issuer.bearer(scope=scope, institutions=["yanan", "zhidan"])
    response = harness.http.get("/auth/v1/check" + query, headers=headers)
    assert response.status_code == status
    if status == 204:
        assert response.headers["x-pacs-institutions"] == "yanan,zhidan"
        assert response.headers["x-pacs-subject"] == "dr-li"


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    made = Issuer()
    made.write_jwks(tmp_path / "jwks")
    return made


@pytest.fixture
def verifier(tmp_path: Path, issuer: Issuer) -> TokenVerifier:
    return TokenVerifier(tmp_path / "jwks", {"region:local", "site:yanchang"}, Standing())


def at(issuer: Issuer, **changes: object) -> str:
    return "Bearer " + issuer.token(now=NOW.timestamp(), **changes)


@pytest.mark.parametrize("audience", ["region:local", "site:yanchang", ["site:x", "site:yanchang"]])
def test_a_good_token_gives_what_it_says(issuer: Issuer, verifier: TokenVerifier, audience: object) -> None:
    access = verifier.verify(at(issuer, aud=audience, institutions=["yanan"], scope="dicomweb:read unknown"))
    assert (access.subject, access.institutions, access.scopes) == (
        "dr-li", frozenset({"yanan"}), frozenset({"dicomweb:read"}),
    )  # fmt: skip
    assert verifier.verify(at(issuer)).institutions is None


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW.timestamp() - 120}, {"exp": None}, {"exp": "soon"}, {"exp": NOW.timestamp() + 13 * 3600},
        {"aud": "region:other"}, {"aud": "site:zhidan"}, {"aud": None}, {"aud": ["region:other"]}, {"aud": 7},
        {"sub": None}, {"iss": None}, {"institutions": None}, {"institutions": "yanan"}, {"institutions": [1]},
        {"institutions": ["yanan", "Yan An"]}, {"institutions": ["../x"]}, {"institutions": ["yanan,zhidan"]},
        {"scope": None}, {"scope": ["dicomweb:read"]}, {"nbf": int(NOW.timestamp()) + 600},
    ],
)  # fmt: skip
def test_a_token_that_is_expired_foreign_or_incomplete_is_refused(
    issuer: Issuer, verifier: TokenVerifier, changes: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(at(issuer, **changes))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcg==",
        "Bearer a.b.c",
        "Bearer " + "x" * 9000,
        "Bearer ..",
        "Bearer é.é.é",
    ],
)
def test_what_is_no_token_is_refused(verifier: TokenVerifier, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(header)


def test_another_keys_signature_does_not_hold(issuer: Issuer, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated):
        verifier.verify(at(Issuer()))
    good = at(issuer)
    head, payload, signature = good.split(".")
    with pytest.raises(Unauthenticated):
        verifier.verify(f"{head}.{payload}.{signature[:-4]}AAAA")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_cannot_choose_a_weaker_algorithm(verifier: TokenVerifier, algorithm: str) -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {
        "iss": "x",
        "aud": "region:local",
        "sub": "x",
        "exp": NOW.timestamp() + 60,
        "institutions": ["*"],
        "scope": "",
    }
    with pytest.raises(Unauthenticated):
        verifier.verify(f"Bearer {part({'alg': algorithm, 'kid': 'region-1'})}.{part(claims)}.")


def test_a_rotated_key_file_is_believed_at_once(
    tmp_path: Path, issuer: Issuer, verifier: TokenVerifier
) -> None:
    verifier.verify(at(issuer))
    successor = Issuer("region-2")
    fresh = tmp_path / "fresh"
    successor.write_jwks(fresh)
    fresh.replace(tmp_path / "jwks")
    assert verifier.verify(at(successor)).subject == "dr-li"
    with pytest.raises(Unauthenticated):
        verifier.verify(at(issuer))


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"keys": 3}'])
def test_without_keys_nobody_is_let_in_and_the_reason_is_told(
    tmp_path: Path, issuer: Issuer, verifier: TokenVerifier, content: str | None
) -> None:
    (tmp_path / "jwks").unlink()
    if content is not None:
        (tmp_path / "jwks").write_text(content)
    with pytest.raises((Unavailable, Unauthenticated)):
        verifier.verify(at(issuer))


def test_the_clock_that_was_injected_decides_on_expiry(tmp_path: Path, issuer: Issuer) -> None:
    clock = Standing()
    verifier = TokenVerifier(tmp_path / "jwks", {"region:local"}, clock)
    token = at(issuer)
    clock.moment = NOW + timedelta(seconds=599)
    verifier.verify(token)
    clock.moment = NOW + timedelta(hours=1)
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
