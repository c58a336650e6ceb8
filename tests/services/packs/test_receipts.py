"""Rules of `services.packs.receipts`: only the region's own, current and unaltered word counts."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from services.packs.receipts import (
    Receipt,
    ReceiptInvalid,
    ReceiptSigner,
    ReceiptVerifier,
    receipts_path,
)

NOW = datetime(2025, 3, 1, tzinfo=UTC)
SAN = "spiffe://pacs.local.test/receipts"


class At:
    """A clock that stands still."""

    def __init__(self, moment: datetime = NOW) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


def certificate(
    public: object, issuer_key: ec.EllipticCurvePrivateKey, *, issuer: str = "root", uri: str | None = SAN
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receipts")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1000))
    )
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def root_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )


ROOT_KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = root_of(ROOT_KEY)
KEY = Ed25519PrivateKey.generate()
SIGNER = ReceiptSigner(KEY)
RECEIPT = Receipt(
    region="local", institution="yanan", site="yanchang", sop_instance_uid="1.2.3", digest="a" * 64, epoch=4,
    pack_id="b" * 64, committed_at="2025-03-01T00:00:00.000000Z", key_id=SIGNER.key_id,
)  # fmt: skip


def verifier(region: str = "local", moment: datetime = NOW) -> ReceiptVerifier:
    return ReceiptVerifier(ROOT, [certificate(KEY.public_key(), ROOT_KEY)], region=region, clock=At(moment))


def test_a_receipt_is_believed_and_says_what_was_signed() -> None:
    assert verifier().verify(SIGNER.sign(RECEIPT), epoch=4) == RECEIPT


def test_a_receipt_is_the_jws_that_the_contract_describes() -> None:
    head, payload, _ = SIGNER.sign(RECEIPT).split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "Ed25519", "kid": SIGNER.key_id}
    assert json.loads(base64.urlsafe_b64decode(payload + "=="))["v"] == 1


def test_a_receipt_of_an_epoch_before_a_restore_is_stale() -> None:
    token = SIGNER.sign(RECEIPT)
    with pytest.raises(ReceiptInvalid, match="epoch"):
        verifier().verify(token, epoch=5)


def test_a_receipt_of_another_region_does_not_count() -> None:
    with pytest.raises(ReceiptInvalid, match="region"):
        verifier("elsewhere").verify(SIGNER.sign(RECEIPT), epoch=4)


def test_a_receipt_of_an_unknown_key_does_not_count() -> None:
    forger = ReceiptSigner(Ed25519PrivateKey.generate())
    token = forger.sign(replace(RECEIPT, key_id=forger.key_id))
    with pytest.raises(ReceiptInvalid, match="does not know"):
        verifier().verify(token, epoch=4)


def forged(payload: dict[str, object], header: dict[str, str], key: object) -> str:
    return jws.serialize_compact(header, json.dumps(payload).encode(), key, algorithms=[header["alg"]])  # type: ignore[arg-type]


def test_a_receipt_that_borrows_the_key_id_does_not_count() -> None:
    other = ReceiptSigner(Ed25519PrivateKey.generate())
    payload = {"v": 1, **{name: getattr(RECEIPT, name) for name in RECEIPT.__slots__}}
    token = forged(payload, {"alg": "Ed25519", "kid": SIGNER.key_id}, other._key)
    with pytest.raises(ReceiptInvalid):
        verifier().verify(token, epoch=4)


def test_the_public_key_used_as_a_mac_secret_does_not_count() -> None:
    payload = {"v": 1, **{name: getattr(RECEIPT, name) for name in RECEIPT.__slots__}}
    token = forged(payload, {"alg": "HS256", "kid": SIGNER.key_id}, OctKey.import_key("x" * 32))
    with pytest.raises(ReceiptInvalid):
        verifier().verify(token, epoch=4)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_the_name_that_also_means_another_curve_is_refused() -> None:
    payload = {"v": 1, **{name: getattr(RECEIPT, name) for name in RECEIPT.__slots__}}
    token = forged(payload, {"alg": "EdDSA", "kid": SIGNER.key_id}, SIGNER._key)
    with pytest.raises(ReceiptInvalid):
        verifier().verify(token, epoch=4)


@pytest.mark.parametrize(
    "changes",
    [{"v": 2}, {"epoch": "4"}, {"epoch": True}, {"digest": "a"}, {"sop_instance_uid": "../x"}, {"more": 1},
     {"site": "A/B"}, {"pack_id": None}, {"key_id": "other"}],
)  # fmt: skip
def test_a_signed_payload_of_another_form_is_refused(changes: dict[str, object]) -> None:
    payload = {"v": 1, **{name: getattr(RECEIPT, name) for name in RECEIPT.__slots__}, **changes}
    token = forged(payload, {"alg": "Ed25519", "kid": SIGNER.key_id}, SIGNER._key)
    with pytest.raises(ReceiptInvalid):
        verifier().verify(token, epoch=4)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_altered_receipt_is_believed(data: st.DataObject) -> None:
    token = SIGNER.sign(RECEIPT)
    position = data.draw(st.integers(0, len(token) - 1))
    # The last character of a part may carry unused bits: only what decodes otherwise is an alteration.
    letter = data.draw(
        st.characters(min_codepoint=33, max_codepoint=0x2FF).filter(lambda c: c != token[position])
    )
    altered = token[:position] + letter + token[position + 1 :]
    try:
        assert verifier().verify(altered, epoch=4) == RECEIPT
        parts = [(a, b) for a, b in zip(token.split("."), altered.split("."), strict=True) if a != b]
        assert all(base64.urlsafe_b64decode(a + "==") == base64.urlsafe_b64decode(b + "==") for a, b in parts)
    except ReceiptInvalid:
        return


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é.é.é", "{}", "e30.e30.e30", "x" * 100_000])
def test_what_is_no_jws_is_refused_with_our_own_error(token: str) -> None:
    with pytest.raises(ReceiptInvalid):
        verifier().verify(token, epoch=0)


@pytest.mark.parametrize("days", [-400, 1001])
def test_outside_the_validity_of_its_key_a_receipt_does_not_count(days: int) -> None:
    with pytest.raises(ReceiptInvalid, match="validity"):
        verifier(moment=NOW + timedelta(days=days)).verify(SIGNER.sign(RECEIPT), epoch=4)


def test_a_key_that_the_root_did_not_sign_is_refused() -> None:
    stranger = certificate(KEY.public_key(), ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ReceiptInvalid, match="pinned root"):
        ReceiptVerifier(ROOT, [stranger], region="local")


@pytest.mark.parametrize(
    "uri", [None, "spiffe://pacs.local.test/institution/yanan/site/receipts", SAN + "/x"]
)
def test_a_branch_certificate_of_the_same_root_signs_no_receipts(uri: str | None) -> None:
    with pytest.raises(ReceiptInvalid, match="receipt key"):
        ReceiptVerifier(ROOT, [certificate(KEY.public_key(), ROOT_KEY, uri=uri)], region="local")


def test_a_certificate_with_another_kind_of_key_is_refused() -> None:
    with pytest.raises(ReceiptInvalid, match="Ed25519"):
        ReceiptVerifier(ROOT, [certificate(ROOT_KEY.public_key(), ROOT_KEY)], region="local")


def test_a_signer_does_not_sign_in_the_name_of_another_key() -> None:
    with pytest.raises(ValueError, match="names key"):
        SIGNER.sign(replace(RECEIPT, key_id="other"))


def test_the_receipts_of_a_pack_lie_where_the_contract_says() -> None:
    assert receipts_path(Path("/r"), "b" * 64) == Path("/r/bb") / ("b" * 64 + ".jws")
    with pytest.raises(ReceiptInvalid):
        receipts_path(Path("/r"), "../" + "b" * 61)
