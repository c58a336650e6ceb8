"""The packs that wait for the second copy: rows of `pack` without `copied_at`. Whoever commits a pack queues it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg.rows import TupleRow

from services.archive.errors import IndexUnavailable
from services.archive.second_copy.ports import Due, Waiting

# Any number that nothing else uses; see services.archive.migrate.
LOCK = 0x7061_6373_0002


class PostgresCopyQueue:
    """`CopyQueue` over one connection, which holds the region's lock for copying as long as it lives."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._leads = False
        self._lock = threading.Lock()

    def lead(self) -> bool:
        with self._cursor() as cursor:
            if not self._leads:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
                row = cursor.fetchone()
                self._leads = row is not None and bool(row[0])
            else:
                cursor.execute("SELECT 1")
            return self._leads

    def due(self, limit: int, after: Due | None) -> Sequence[Due]:
        with self._cursor() as cursor:
            cursor.execute(
                """SELECT pack_id, object_key, committed_at FROM pack WHERE copied_at IS NULL AND removed_at IS NULL
                AND (%(at)s::timestamptz IS NULL OR (committed_at, pack_id) > (%(at)s, %(id)s))
                ORDER BY committed_at, pack_id LIMIT %(limit)s""",
                {
                    "at": after.committed_at if after else None,
                    "id": after.pack_id if after else "",
                    "limit": limit,
                },
            )
            return [Due(*row) for row in cursor]

    def done(self, pack_ids: Collection[str]) -> None:
        with self._cursor() as cursor:
            cursor.execute("UPDATE pack SET copied_at = now() WHERE pack_id = ANY(%s)", (list(pack_ids),))

    def again(self, pack_ids: Collection[str]) -> None:
        with self._cursor() as cursor:
            cursor.execute("UPDATE pack SET copied_at = NULL WHERE pack_id = ANY(%s)", (list(pack_ids),))

    def waiting(self) -> Waiting:
        with self._cursor() as cursor:
            cursor.execute(
                "SELECT count(*), min(committed_at) FROM pack WHERE copied_at IS NULL AND removed_at IS NULL"
            )
            row = cursor.fetchone()
            return Waiting(row[0], row[1]) if row else Waiting(0, None)

    def close(self) -> None:
        """Give up connection and lock."""
        with self._lock:
            self._drop()

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor[TupleRow]]:
        """A statement of its own transaction; a lost connection is made anew the next time, and the lock with it."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._dsn, connect_timeout=3, autocommit=True)
                with self._connection.cursor() as cursor:
                    yield cursor
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedColumn,
                    psycopg.errors.UndefinedTable) as error:  # fmt: skip
                self._drop()
                raise IndexUnavailable(
                    f"The index database does not answer (SQLSTATE {error.sqlstate or 'none'}).",
                    action="Send the same request again.",
                ) from error

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection, self._leads = None, False
