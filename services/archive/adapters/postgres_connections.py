"""Transactions on a pool of PostgreSQL connections, for every adapter of one process; the driver's errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from services.archive.errors import IndexUnavailable

Cursor = psycopg.Cursor[TupleRow]


class PostgresConnections:
    """It can be made while PostgreSQL is away: the pool connects in the background, and until it has, every
    transaction raises `IndexUnavailable` after `patience` seconds."""

    def __init__(self, dsn: str, *, connections: int = 8, patience: float = 2.0) -> None:
        self._pool = ConnectionPool(
            dsn,
            min_size=1,
            max_size=connections,
            timeout=patience,
            # Short, so that a lost database is asked for again soon and not after a long back-off.
            reconnect_timeout=4.0,
            check=ConnectionPool.check_connection,
            kwargs={
                "application_name": "pacs-archive",
                "connect_timeout": 3,
                "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=30000",
            },
            open=False,
            name="archive-index",
        )
        self._pool.open(wait=False)

    def close(self) -> None:
        """Give the connections back; no transaction may begin after."""
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in a transaction. Raises `IndexUnavailable`, without the values that the driver quotes."""
        try:
            with self._pool.connection() as connection, connection.cursor() as cursor:
                yield cursor
        except (PoolTimeout, PoolClosed, TooManyRequests) as error:
            raise IndexUnavailable(
                "The index database gave no connection in time.", action="Send the same request again."
            ) from error
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable) as error:
            raise IndexUnavailable(
                f"The index database does not answer (SQLSTATE {error.sqlstate or 'none'}).",
                action="Send the same request again.",
            ) from error
