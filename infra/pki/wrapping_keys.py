"""The region's wrapping keys on the operator's machine: sealed with the state's passphrase, handed to the archive.

They lie outside the data centre (ADR-0018). The archive gets them as a Secret, which the cluster encrypts at
rest; nothing else at the centre keeps them. Who loses this file and the escrow loses every image at the centre.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from infra.pki.private_files import PkiError, write_private
from infra.pki.sealed import MACHINE_COST, seal, unseal
from services.archive.encryption.wrapping_keys import WrappingKeys
from services.archive.ports import KeyUnusable
from services.common.clock import rfc3339

PURPOSE = "pacs wrapping keys"


def path_in(directory: Path) -> Path:
    """Where they lie below the state's `secrets/pki`."""
    return directory / "wrapping-keys.sealed"


def ensure_wrapping_keys(directory: Path, passphrase: bytes, region: str, now: datetime) -> WrappingKeys:
    """The region's wrapping keys, made on the first call. Raises PkiError."""
    if not path_in(directory).exists():
        save_wrapping_keys(directory, passphrase, WrappingKeys.generate(region, rfc3339(now)))
    return load_wrapping_keys(directory, passphrase, region)


def load_wrapping_keys(directory: Path, passphrase: bytes, region: str) -> WrappingKeys:
    """Open the file. Raises PkiError where it is missing, damaged, or another region's."""
    path = path_in(directory)
    try:
        document = path.read_bytes()
    except OSError as error:
        raise PkiError(
            f"{path} cannot be read: {error.strerror}; restore it from the escrow: ./pacs keys restore"
        ) from error
    return parsed(unseal(document, passphrase, PURPOSE, str(path)), str(path), region)


def save_wrapping_keys(directory: Path, passphrase: bytes, keys: WrappingKeys) -> None:
    """Write the file so that a crash leaves the old one or the new one."""
    write_private(path_in(directory), seal(keys.document(), passphrase, PURPOSE, cost=MACHINE_COST))


def parsed(document: bytes, where: str, region: str) -> WrappingKeys:
    """An opened document as this region's wrapping keys. Raises PkiError."""
    try:
        keys = WrappingKeys.parse(document, where)
    except KeyUnusable as error:
        raise PkiError(str(error)) from error
    if keys.region != region:
        raise PkiError(
            f"{where} holds the wrapping keys of the region {keys.region!r}, not of {region!r}; name the right file"
        )
    return keys
