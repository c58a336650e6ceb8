"""Who may write the second copy: the access key of the other site, from the files that the stack names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from infra.config.sections import SecondCopy
from infra.pki.private_files import read_login
from infra.supplies import SuppliesError


@dataclass(frozen=True)
class SecondCopyAccess:
    """The S3 credentials of the second site, and the CA certificates to trust there; None: the public ones."""

    access_key: str
    secret_key: str = field(repr=False)
    trust: str | None = None


def read_second_copy(config: SecondCopy, secrets_dir: Path) -> SecondCopyAccess:
    """Read the files. Raises SuppliesError where one is missing, open to others or incomplete."""
    login = read_login(
        secrets_dir / config.credentials, "second copy", ("access_key", "secret_key"), SuppliesError
    )
    return SecondCopyAccess(*login, _trust(config, secrets_dir))


def _trust(config: SecondCopy, secrets_dir: Path) -> str | None:
    if config.trust is None:
        return None
    path = secrets_dir / config.trust
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise SuppliesError(
            "the second site's CA certificates are not there",
            f"{path} holds no certificate in PEM",
            "Write them into it, or take object_store.second_copy.trust away to trust the public ones.",
        )
    return text
