"""The ledger in PostgreSQL, schema `edge`; migrations are the numbered files beside this package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

import psycopg

from services.edge.ports import LedgerDown, LedgerEntry

_PACK = """
INSERT INTO edge.pack (pack_id, institution, site, study_uid, sealed_at, forwarded_at, committed_at, epoch)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (pack_id) DO UPDATE SET
    forwarded_at = excluded.forwarded_at, committed_at = excluded.committed_at, epoch = excluded.epoch
"""
_INSTANCE = """
INSERT INTO edge.instance
    (institution, sop_instance_uid, digest, pack_id, received_at, stored_at, forwarded_at, committed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (institution, sop_instance_uid, digest, pack_id) DO UPDATE SET
    forwarded_at = excluded.forwarded_at, committed_at = excluded.committed_at
"""
_LOCK = 0x45444745  # "EDGE": two edges that start together migrate one after the other


class PostgresLedger:
    """`Ledger` over one connection, opened when needed and dropped at the first error."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def known(self) -> dict[str, bool]:
        """See `Ledger.known`."""
        try:
            rows = self._connected().execute("SELECT pack_id, committed_at IS NOT NULL FROM edge.pack")
            return dict(rows.fetchall())
        except psycopg.Error as error:
            raise self._down(error) from error

    def record(self, entries: Iterable[LedgerEntry]) -> None:
        """See `Ledger.record`; one transaction."""
        packs: list[tuple[object, ...]] = []
        instances: list[tuple[object, ...]] = []
        for entry in entries:
            footer, commitment = entry.footer, entry.commitment
            committed = commitment.committed_at if commitment else None
            times = (entry.forwarded_at, committed)
            epoch = commitment.epoch if commitment else None
            pack_id = footer.pack_id
            packs.append(
                (pack_id, footer.institution, footer.site, footer.study_uid, footer.sealed_at, *times, epoch)
            )
            instances.extend(
                (
                    footer.institution,
                    i.sop_instance_uid,
                    i.digest,
                    pack_id,
                    i.received_at,
                    footer.sealed_at,
                    *times,
                )
                for i in footer.instances
            )
        if not packs:
            return
        try:
            connection = self._connected()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_PACK, packs)
                cursor.executemany(_INSTANCE, instances)
        except psycopg.Error as error:
            raise self._down(error) from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self._url, connect_timeout=3, autocommit=True, options="-c statement_timeout=30s"
            )
            _migrate(connection)
            self._connection = connection
        return self._connection

    def _down(self, error: psycopg.Error) -> LedgerDown:
        self.close()
        return LedgerDown(f"{type(error).__name__} {error.sqlstate or ''}".strip())


def _migrate(connection: psycopg.Connection[Any]) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("CREATE SCHEMA IF NOT EXISTS edge")
        connection.execute("CREATE TABLE IF NOT EXISTS edge.migration (name text PRIMARY KEY)")
        done = {row[0] for row in connection.execute("SELECT name FROM edge.migration")}
        files = resources.files("services.edge.ledger") / "migrations"
        for file in sorted(files.iterdir(), key=lambda file: file.name):
            if file.name.endswith(".sql") and file.name not in done:
                connection.execute(file.read_bytes())
                connection.execute("INSERT INTO edge.migration VALUES (%s)", (file.name,))
