from __future__ import annotations

import json

import pytest

from infra.pki.private_files import PkiError
from infra.pki.sealed import seal, unseal

SECRET, PASSPHRASE = b"the region's wrapping key", b"correct horse battery"


def sealed() -> bytes:
    return seal(SECRET, PASSPHRASE, "test", cost=4)


def test_what_was_sealed_is_opened_by_its_passphrase_and_shows_nothing() -> None:
    document = sealed()
    assert unseal(document, PASSPHRASE, "test", "here") == SECRET
    assert SECRET not in document
    assert PASSPHRASE not in document
    assert sealed() != document, "no two seals are alike"


def test_another_passphrase_opens_nothing_and_is_not_told() -> None:
    with pytest.raises(PkiError, match="passphrase is another one") as caught:
        unseal(sealed(), b"wrong horse", "test", "here")
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("field", ["salt", "nonce", "sealed"])
def test_one_altered_byte_is_found(field: str) -> None:
    document = json.loads(sealed())
    text = document[field]
    document[field] = ("B" if text[0] != "B" else "C") + text[1:]
    with pytest.raises(PkiError, match="cannot be opened"):
        unseal(json.dumps(document).encode(), PASSPHRASE, "test", "here")


def test_a_seal_for_another_purpose_is_refused() -> None:
    with pytest.raises(PkiError, match="for 'test'"):
        unseal(sealed(), PASSPHRASE, "other", "here")


def test_a_header_that_was_altered_is_refused() -> None:
    document = json.loads(sealed())
    document["kdf"]["r"] = 4
    with pytest.raises(PkiError, match="cannot be opened"):
        unseal(json.dumps(document).encode(), PASSPHRASE, "test", "here")


def test_a_cost_that_would_take_all_memory_is_refused() -> None:
    document = json.loads(sealed())
    document["kdf"]["log2_n"] = 40
    with pytest.raises(PkiError, match="wanted"):
        unseal(json.dumps(document).encode(), PASSPHRASE, "test", "here")


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b"null", b"\xff", b'{"format":1,"purpose":"test","kdf":3}']
)
def test_a_file_that_was_never_sealed_is_told_as_such(document: bytes) -> None:
    with pytest.raises(PkiError, match="no sealed file"):
        unseal(document, PASSPHRASE, "test", "here")
