"""Receipts: the centre's signed word that it holds an instance (docs/contracts.md, section 8).

A receipt is a compact JWS (RFC 7515), signed with `Ed25519` (RFC 9864). Only a valid receipt of the current
epoch makes an instance evictable at a branch, so whatever is not exactly right raises `ReceiptInvalid`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from services.common.clock import Clock, SystemClock
from services.packs.footer import PackError, check_label
from services.packs.instance import InstanceError, check_uid

VERSION = 1
ALGORITHM = "Ed25519"
RECEIPTS_SAN_PATH = "/receipts"
"""Path of the URI SAN that a receipt key's certificate carries: `spiffe://<domain>/receipts`."""

_HEX = re.compile(r"[0-9a-f]{64}")


class ReceiptInvalid(ValueError):
    """A receipt or its key is not to be trusted: forged, altered, stale, foreign or of an unknown key."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the centre states. `epoch` counts restores of the centre; `committed_at` is RFC 3339 UTC."""

    region: str
    institution: str
    site: str
    sop_instance_uid: str
    digest: str
    epoch: int
    pack_id: str
    committed_at: str
    key_id: str


class ReceiptSigner:
    """Signs receipts with the region's receipt key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._key = OKPKey.import_key(pem)
        self.key_id = key_id_of(key.public_key())

    def sign(self, receipt: Receipt) -> str:
        """The compact JWS of a receipt. Raises `ValueError` if it names another key than this one."""
        if receipt.key_id != self.key_id:
            raise ValueError(f"the receipt names key {receipt.key_id}, this is {self.key_id}")
        payload = json.dumps({"v": VERSION, **asdict(receipt)}, sort_keys=True, separators=(",", ":"))
        header = {"alg": ALGORITHM, "kid": self.key_id}
        return jws.serialize_compact(header, payload.encode(), self._key, algorithms=[ALGORITHM])


class ReceiptVerifier:
    """Checks receipts against the pinned root of the region.

    `certificates` are those of the receipt keys, present and past. One counts only if the root itself signed
    it and its URI SAN has the path `/receipts`: a branch's certificate of the same root signs nothing here.
    Receipts of a key whose certificate is out of its validity do not count: eviction waits.
    """

    def __init__(
        self,
        root: x509.Certificate,
        certificates: Iterable[x509.Certificate],
        *,
        region: str,
        clock: Clock | None = None,
    ) -> None:
        self._region, self._clock = region, clock or SystemClock()
        self._keys: dict[str, tuple[OKPKey, x509.Certificate]] = {}
        for certificate in certificates:
            public = _receipt_key(certificate, root)
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self._keys[key_id_of(public)] = OKPKey.import_key(pem), certificate

    def verify(self, token: str, *, epoch: int) -> Receipt:
        """The receipt in `token`, if it is the region's and not older than `epoch`. Raises `ReceiptInvalid`.

        `epoch` is the highest one known here: restoring the centre raises it, and makes older receipts stale.
        """
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
            key, certificate = self._keys[str(header.get("kid"))]
            if header.keys() != {"alg", "kid"}:
                raise ReceiptInvalid("the receipt's header holds more than alg and kid")
            payload = jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload
            receipt = _decode(payload)
        except KeyError:
            raise ReceiptInvalid("the receipt is signed with a key that this node does not know") from None
        except (JoseError, ValueError, RecursionError) as error:
            raise ReceiptInvalid(f"the receipt does not hold: {error}") from None
        now = self._clock.now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise ReceiptInvalid("the certificate of the receipt's key is out of its validity")
        if receipt.key_id != header["kid"]:
            raise ReceiptInvalid("the receipt names another key than the one that signed it")
        if receipt.region != self._region:
            raise ReceiptInvalid(f"the receipt is of region {receipt.region}, not of {self._region}")
        if receipt.epoch < epoch:
            raise ReceiptInvalid(f"the receipt is of epoch {receipt.epoch}, the centre is in epoch {epoch}")
        return receipt


def key_id_of(public: Ed25519PublicKey) -> str:
    """The key's JWK thumbprint (RFC 7638), by which receipts name it."""
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return OKPKey.import_key(pem).thumbprint()


def receipts_path(directory: Path, pack_id: str) -> Path:
    """Where a branch keeps the receipts of a pack: `<receipts>/<first two>/<pack id>.jws`, one a line.

    Raises `ReceiptInvalid` for what is no pack id.
    """
    if not _HEX.fullmatch(pack_id):
        raise ReceiptInvalid(f"pack id {pack_id[:80]!r} is not 64 lower-case hexadecimal digits")
    return directory / pack_id[:2] / f"{pack_id}.jws"


def _receipt_key(certificate: x509.Certificate, root: x509.Certificate) -> Ed25519PublicKey:
    name = certificate.subject.rfc4514_string()
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        raise ReceiptInvalid(f"the certificate {name} is not signed by the pinned root") from None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    if not any(re.fullmatch(r"spiffe://[^/]+" + RECEIPTS_SAN_PATH, uri) for uri in uris):
        raise ReceiptInvalid(f"the certificate {name} is not one of a receipt key (no URI SAN .../receipts)")
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ReceiptInvalid(f"the certificate {name} holds no Ed25519 key")
    return key


def _decode(payload: bytes) -> Receipt:
    document = json.loads(payload)
    if not isinstance(document, dict) or document.pop("v", None) != VERSION:
        raise ReceiptInvalid(f"the receipt is not of version {VERSION}")
    if document.keys() != {field.name for field in fields(Receipt)}:
        raise ReceiptInvalid("the receipt lacks or adds a field")
    for name, value in document.items():
        if type(value) is not (int if name == "epoch" else str):
            raise ReceiptInvalid(f"{name} of the receipt is of the wrong type")
    receipt = Receipt(**document)
    try:
        check_uid(receipt.sop_instance_uid, "sop_instance_uid")
        for label in ("region", "institution", "site"):
            check_label(getattr(receipt, label), label)
    except (InstanceError, PackError) as error:
        raise ReceiptInvalid(str(error)) from None
    if not _HEX.fullmatch(receipt.digest) or not _HEX.fullmatch(receipt.pack_id):
        raise ReceiptInvalid("digest or pack id of the receipt is not 64 lower-case hexadecimal digits")
    return receipt
