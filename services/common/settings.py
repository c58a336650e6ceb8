"""Settings from the environment (prefix `PACS_`), secrets from files: never from argv, never printed."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

DnsLabel = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""The form of a region, institution or site name."""

AETitle = Annotated[str, StringConstraints(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""PS3.5 6.2 VR AE: 1-16 characters of the default repertoire, no backslash, no outer spaces."""


class ServiceSettings(BaseSettings):
    """What every service is told: where it stands and how loud it logs."""

    model_config = SettingsConfigDict(env_prefix="PACS_", extra="ignore", frozen=True)

    region: DnsLabel
    institution: DnsLabel
    site: DnsLabel
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls) -> Self:
        """The settings of this process. Raises pydantic's `ValidationError` naming every wrong or missing one."""
        nothing: dict[str, Any] = {}
        return cls(**nothing)


def read_secret(path: Path) -> str:
    """The content of a secret file without its final newline.

    Raises OSError when it cannot be read and ValueError when it is empty: an empty secret would
    match an empty header.
    """
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise ValueError(f"{path} is empty; write the secret into it")
    return secret
