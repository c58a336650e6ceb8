"""Private keys on the operator's machine: encrypted, owner-only, written whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from services.common.durable import replace_file

SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class PkiError(Exception):
    """A key or certificate of the region cannot be used; the text says which, why and what to do."""


def write_private(path: Path, content: bytes) -> None:
    """Write `content` with mode 0600 so that a crash leaves the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, content, 0o600)


def read_passphrase(path: Path) -> bytes:
    """The passphrase that encrypts the region's keys; refused when others may read it.

    Raises PkiError when the file is missing, open to others or shorter than 16 characters.
    """
    try:
        mode = path.stat().st_mode & 0o077
        passphrase = path.read_bytes().strip()
    except OSError as error:
        raise PkiError(
            f"the passphrase of the region's keys cannot be read from {path}: {error.strerror}; "
            "restore the file from your safe, without it the root key is lost"
        ) from error
    if mode:
        raise PkiError(
            f"{path} can be read by others (mode {mode:03o} beyond the owner); run: chmod 600 {path}"
        )
    if len(passphrase) < 16:
        raise PkiError(f"the passphrase in {path} has {len(passphrase)} characters; at least 16 are needed")
    return passphrase


def read_login(
    path: Path, what: str, names: tuple[str, str], refused: Callable[[str, str, str], Exception]
) -> tuple[str, str]:
    """The values of two `name=value` lines of a file that nobody else may read.

    Raises what `refused` makes of what happened, why and what to do, where it is missing, open or incomplete.
    """
    shape = f"Write two lines into it, {names[0]}= and {names[1]}=, and give it mode 0600."
    if not path.is_file():
        raise refused(f"the {what}'s credentials are not there", f"{path} does not exist", shape)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise refused(
            f"the {what}'s credentials are open to others", f"{path} has mode {mode:04o}", f"chmod 600 {path}"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    given = {
        name.strip(): value.strip() for name, found, value in (line.partition("=") for line in lines) if found
    }
    first, second = (given.get(name, "") for name in names)
    if not first or not second:
        raise refused(f"the {what}'s credentials are incomplete", f"{path} lacks one of them", shape)
    return first, second


def save_key(path: Path, key: SigningKey, passphrase: bytes) -> None:
    """Store `key` as PKCS #8 PEM encrypted with `passphrase`."""
    encryption = serialization.BestAvailableEncryption(passphrase)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    write_private(path, pem)


def load_key(path: Path, passphrase: bytes) -> SigningKey:
    """Read a key that `save_key` wrote.

    Raises PkiError for a wrong passphrase, a damaged file or another algorithm.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    except (ValueError, TypeError) as error:
        raise PkiError(
            f"{path} cannot be opened: the passphrase is another one or the file is damaged; "
            "restore both from the same backup"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise PkiError(f"{path} holds a {type(key).__name__}; expected an ECDSA P-256 or Ed25519 key")
    return key


def ensure_secret(path: Path) -> str:
    """A random secret of 256 bits in a file of its own, made on the first call (a shared key, a password)."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode("ascii") + b"\n")
    return path.read_text(encoding="ascii").strip()


def clear_pem(key: SigningKey) -> bytes:
    """PKCS #8 PEM without encryption, for a Kubernetes Secret or a file on a tmpfs; never for the root."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
