"""Signed GETs: what botocore would sign, for one object, for a while, and with the customer's key where there is one."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from services.archive.reading.signing import CUSTOMER, VALID_SECONDS, S3Signer
from tests.services.archive.reading.presigned import botocore_signature

KEY = "packs/yanan/ab/" + "ab" * 32 + ".pack"
SECRET = "a/secret+with=odd&characters"


class Hand:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.moment = datetime(2025, 3, 1, 23, 59, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return 0.0


class Ring:
    """Opens what has a key id, with headers as `CustomerKeys` names them."""

    def headers(self, object_key: str, key_id: str | None) -> dict[str, str]:
        names = {"algorithm": "AES256", "key": f"c2VjcmV0{key_id}", "key-MD5": "bWQ1"}
        return {CUSTOMER + name: value for name, value in names.items()} if key_id else {}


def signer(clock: Hand, endpoint: str = "https://rgw.rook-ceph.svc:443") -> S3Signer:
    return S3Signer(endpoint, "pacs-packs", access_key="AK/1", secret_key=SECRET, clock=clock, keys=Ring())


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://rgw.svc:443", "rgw.svc"),
        ("https://rgw.svc", "rgw.svc"),
        ("https://127.0.0.1:8443", "127.0.0.1:8443"),
    ],
)
def test_the_signature_is_the_one_that_botocore_makes_for_the_host_that_a_client_names(
    endpoint: str, host: str
) -> None:
    target = signer(Hand(), endpoint).sign(KEY, None).target
    assert target.startswith(f"/pacs-packs/{KEY}?")
    given = parse_qs(urlsplit(target).query)["X-Amz-Signature"][0]
    assert given == botocore_signature(target, host, "AK/1", SECRET)


def test_another_day_has_another_key_and_the_same_signer_finds_it() -> None:
    clock = Hand()
    made = signer(clock)
    made.sign(KEY, None)
    clock.moment += timedelta(minutes=1)
    target = made.sign(KEY, None).target
    assert "20250302" in target
    given = parse_qs(urlsplit(target).query)["X-Amz-Signature"][0]
    assert given == botocore_signature(target, "rgw.rook-ceph.svc", "AK/1", SECRET)


def test_the_key_of_an_encrypted_object_is_signed_and_not_in_the_target() -> None:
    signed = signer(Hand()).sign(KEY, "k1")
    assert signed.headers[CUSTOMER + "key"] == "c2VjcmV0k1"
    assert "c2VjcmV0k1" not in signed.target + repr(signed)
    given = parse_qs(urlsplit(signed.target).query)["X-Amz-Signature"][0]
    host = "rgw.rook-ceph.svc"
    assert given == botocore_signature(signed.target, host, "AK/1", SECRET, dict(signed.headers))
    assert given != botocore_signature(signed.target, host, "AK/1", SECRET)


def test_it_says_until_when_it_holds() -> None:
    clock = Hand()
    assert signer(clock).sign(KEY, None).expires == int(clock.moment.timestamp()) + VALID_SECONDS


@pytest.mark.parametrize("key", ["../other/bucket", "packs/a?b", "/packs", "packs/a b", ""])
def test_what_is_no_object_key_is_not_signed(key: str) -> None:
    with pytest.raises(ValueError, match="no object key"):
        signer(Hand()).sign(key, None)
