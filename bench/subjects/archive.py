"""Our archive as it runs in the region, with PostgreSQL of its own, durable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.processes import guarded
from bench.servers.archive import ArchiveServer
from bench.servers.postgres import PostgresServer
from bench.subjects.subject import DimseAddress, WebAddress
from infra.pki.tokens import EVERY, MAX_LIFETIME, Scope, ensure_token_key, issue_token, public_jwks


class _Guarded(ArchiveServer):
    """An archive that does not outlive the comparison."""

    def command(self, *words: str) -> Sequence[str]:
        return guarded(super().command(*words))


class Archive:
    """`python -m services.archive` on the file system store."""

    name = "archive"

    def __init__(self) -> None:
        self._postgres: PostgresServer | None = None
        self._server: _Guarded | None = None
        self._token = ""

    def start(self, directory: Path) -> None:
        key = ensure_token_key(directory, b"only for this run")
        self._token = issue_token(
            key, issuer="https://pacs.local.test", audience="region:local", subject="bench", institutions=[EVERY],
            scopes=[Scope.READ, Scope.STORE], now=datetime.now(UTC), lifetime=MAX_LIFETIME,
        )  # fmt: skip
        home = directory / "postgres"
        home.mkdir()
        self._postgres = PostgresServer(home, durable=True)
        self._postgres.initialise()
        self._postgres.start()
        self._server = _Guarded(directory, self._postgres.new_database(), public_jwks(key))
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._postgres is not None:
            self._postgres.stop()

    def roots(self) -> Sequence[int]:
        return [server.pid for server in (self._postgres, self._server) if server is not None]

    def dimse(self) -> DimseAddress:
        assert self._server is not None  # noqa: S101 - started
        return DimseAddress(self._server.ports["dimse"], "PACS")

    def web(self) -> WebAddress:
        assert self._server is not None  # noqa: S101 - started
        return WebAddress(self._server.url(), {"Authorization": f"Bearer {self._token}"})

    def configuration(self) -> str:
        return "the product's defaults, packs in the file system; every answer after fdatasync; PostgreSQL with fsync on"
