"""A file that a passphrase opens: scrypt (RFC 7914) and AES-256-GCM, with what it takes to open it written in it."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from infra.pki.private_files import PkiError

FORMAT = 1
MACHINE_COST, PERSON_COST = 14, 17
"""log2 of scrypt's N: for a passphrase of random characters, and for one that a person thought of (128 MiB)."""
_R, _P = 8, 1
_MOST = 20


def seal(content: bytes, passphrase: bytes, purpose: str, *, cost: int) -> bytes:
    """`content` sealed for `purpose`, as a JSON document that may lie anywhere."""
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = {
        "format": FORMAT,
        "purpose": purpose,
        "kdf": {"name": "scrypt", "log2_n": cost, "r": _R, "p": _P},
    }
    sealed = AESGCM(_key(passphrase, salt, cost)).encrypt(nonce, content, _canonical(header))
    texts = {"salt": salt, "nonce": nonce, "sealed": sealed}
    return (
        json.dumps(
            header | {name: base64.b64encode(value).decode() for name, value in texts.items()}, indent=1
        ).encode()
        + b"\n"
    )


def unseal(document: bytes, passphrase: bytes, purpose: str, where: str) -> bytes:
    """What was sealed for this purpose. Raises PkiError; nothing of content or passphrase is in its text."""
    try:
        given: dict[str, Any] = json.loads(document)
        header = {name: given[name] for name in ("format", "purpose", "kdf")}
        cost = int(header["kdf"]["log2_n"])
        salt, nonce, sealed = (
            base64.b64decode(given[name], validate=True) for name in ("salt", "nonce", "sealed")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PkiError(
            f"{where} is no sealed file ({type(error).__name__}); take another copy of it"
        ) from error
    if header["format"] != FORMAT or header["purpose"] != purpose or not 0 < cost <= _MOST:
        raise PkiError(
            f"{where} is a sealed file of format {header['format']!r} for {header['purpose']!r}; "
            f"wanted: format {FORMAT} for {purpose!r}. Name the right file"
        )
    try:
        return AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, sealed, _canonical(header))
    except (InvalidTag, ValueError) as error:
        raise PkiError(
            f"{where} cannot be opened: the passphrase is another one or the file is damaged; "
            "try again, or take another copy of it"
        ) from error


def _key(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << cost, r=_R, p=_P).derive(passphrase)


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
