"""`python -m services.archive` as a real process, for integration tests."""

from pathlib import Path

import httpx

from bench.servers.archive import ArchiveServer
from tests.services.archive.tokens import Issuer


class ArchiveProcess(ArchiveServer):
    """One archive that seals soon, with an issuer of its tokens."""

    def __init__(self, directory: Path, dsn: str, issuer: Issuer, **environment: str) -> None:
        self.issuer = issuer
        soon = {
            "PACS_SEAL_IDLE_SECONDS": "0.2",
            "PACS_SEAL_AGE_SECONDS": "0.5",
            "PACS_SPOOL_RESERVE_BYTES": "1048576",
        }
        super().__init__(directory, dsn, issuer.jwks(), **soon | environment)

    def get(self, path: str, *, listener: str = "http", **headers: str) -> httpx.Response:
        return httpx.get(self.url(path, listener), headers={**self.issuer.bearer(), **headers}, timeout=30)
