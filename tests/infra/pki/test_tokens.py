"""Tokens say what the contract asks for, are short-lived, and verify with the public key set alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from infra.pki.private_files import PkiError
from infra.pki.tokens import Scope, ensure_token_key, issue_token, public_jwks

NOW = datetime(2025, 3, 1, tzinfo=UTC)
PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> OKPKey:
    return ensure_token_key(tmp_path_factory.mktemp("keys"), PASSPHRASE)


def issue(key: OKPKey, **changes: Any) -> str:
    given: dict[str, Any] = {
        "issuer": "https://pacs.pacs.local.test",
        "audience": "region:local",
        "subject": "operator",
        "institutions": ["yanan"],
        "scopes": [Scope.READ, Scope.OPS],
        "now": NOW,
    }
    return issue_token(key, **(given | changes))


def test_a_token_verifies_with_the_public_key_set_and_says_what_the_contract_asks_for(key: OKPKey) -> None:
    keys = KeySet.import_key_set(json.loads(public_jwks(key)))
    claims = jwt.decode(issue(key), keys, algorithms=["Ed25519"]).claims
    assert claims["iss"] == "https://pacs.pacs.local.test"
    assert claims["aud"] == "region:local"
    assert claims["scope"] == "dicomweb:read ops"
    assert claims["institutions"] == ["yanan"]
    assert claims["exp"] - claims["iat"] == 3600


def test_the_key_set_holds_no_private_part(key: OKPKey) -> None:
    assert "d" not in json.loads(public_jwks(key))["keys"][0]


def test_the_key_is_the_same_the_next_time(tmp_path: Path) -> None:
    assert ensure_token_key(tmp_path, PASSPHRASE).kid == ensure_token_key(tmp_path, PASSPHRASE).kid


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime": timedelta(hours=13)},
        {"lifetime": timedelta(0)},
        {"institutions": []},
        {"scopes": []},
        {"institutions": ["Yan An"]},
        {"institutions": ["yanan", "*"]},
    ],
)
def test_a_token_that_lives_too_long_or_allows_nothing_is_refused(
    key: OKPKey, changes: dict[str, Any]
) -> None:
    with pytest.raises(PkiError):
        issue(key, **changes)


def test_two_tokens_are_never_the_same(key: OKPKey) -> None:
    assert issue(key) != issue(key)


def test_a_token_for_the_status_page_alone_needs_no_institution(key: OKPKey) -> None:
    claims = jwt.decode(issue(key, institutions=[], scopes=[Scope.OPS]), key, algorithms=["Ed25519"]).claims
    assert claims["institutions"] == []
