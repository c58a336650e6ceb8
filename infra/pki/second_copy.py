"""Who may write the second copy: the access key of the other site, from the files that the stack names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from infra.config.sections import SecondCopy
from infra.supplies import SuppliesError

_SHAPE = "Write two lines into it, access_key= and secret_key=, and give it mode 0600."


@dataclass(frozen=True)
class SecondCopyAccess:
    """The S3 credentials of the second site, and the CA certificates to trust there; None: the public ones."""

    access_key: str
    secret_key: str = field(repr=False)
    trust: str | None = None


def read_second_copy(config: SecondCopy, secrets_dir: Path) -> SecondCopyAccess:
    """Read the files. Raises SuppliesError where one is missing, open to others or incomplete."""
    path = secrets_dir / config.credentials
    if not path.is_file():
        raise SuppliesError("the second copy's credentials are not there", f"{path} does not exist", _SHAPE)
    if path.stat().st_mode & 0o077:
        raise SuppliesError(
            "the second copy's credentials are open to others",
            f"{path} has mode {path.stat().st_mode & 0o777:04o}",
            f"chmod 600 {path}",
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    given = {
        name.strip(): value.strip() for name, found, value in (line.partition("=") for line in lines) if found
    }
    if not given.get("access_key") or not given.get("secret_key"):
        raise SuppliesError(
            "the second copy's credentials are incomplete", f"{path} lacks one of them", _SHAPE
        )
    return SecondCopyAccess(given["access_key"], given["secret_key"], _trust(config, secrets_dir))


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
