"""Wrapped data keys in the data centre's database, beside the index: what gives back a key that the bucket lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import TupleRow

from services.archive.encryption.data_key import WrappedKey
from services.archive.errors import IndexUnavailable


class PostgresKeyRegister:
    """`KeyRegister` over the table `data_key`. It is asked rarely, so that it keeps no connection."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def save(self, key: WrappedKey) -> None:
        with self._cursor() as cursor:
            cursor.execute(
                """INSERT INTO data_key (institution, key_id, wrapping_key_id, document)
                VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                (key.institution, key.key_id, key.wrapping_key_id, key.document()),
            )

    def all(self) -> list[WrappedKey]:
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT institution, key_id, document FROM data_key ORDER BY 1, 2, wrapping_key_id"
            )
            return [WrappedKey.parse(row[2], f"the database's key {row[1]} of {row[0]}") for row in cursor]

    def remove(self, key: WrappedKey) -> None:
        with self._cursor() as cursor:
            cursor.execute(
                "DELETE FROM data_key WHERE institution = %s AND key_id = %s AND wrapping_key_id = %s",
                (key.institution, key.key_id, key.wrapping_key_id),
            )

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor[TupleRow]]:
        """One transaction; the driver's errors become ours, without the values it quotes."""
        try:
            with psycopg.connect(self._dsn, connect_timeout=3) as connection, connection.cursor() as cursor:
                yield cursor
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable) as error:
            raise IndexUnavailable(
                f"The index database does not answer (SQLSTATE {error.sqlstate or 'none'}).",
                action="Send the same request again.",
            ) from error
