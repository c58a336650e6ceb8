"""`services.archive.upkeep.ledger.Ledger` on PostgreSQL: one short transaction a question, on a connection of its own."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg

from services.archive.adapters.postgres_connections import Cursor
from services.archive.errors import IndexUnavailable
from services.archive.tombstones.document import tombstone_key
from services.archive.upkeep.ledger import PackRow, Place

_PACK = "pack_id, object_key, length, retired_at IS NOT NULL"


class PostgresLedger:
    """See `Ledger`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def totals(self) -> tuple[int, int]:
        with self.transaction() as cursor:
            cursor.execute(
                "SELECT count(*), coalesce(sum(length), 0)::bigint FROM pack WHERE removed_at IS NULL"
            )
            row = cursor.fetchone()
            return (0, 0) if row is None else (row[0], row[1])

    def packs(self, after: str, limit: int) -> list[PackRow]:
        with self.transaction() as cursor:
            cursor.execute(
                f"""SELECT {_PACK} FROM pack WHERE object_key COLLATE "C" > %s AND removed_at IS NULL
                ORDER BY object_key COLLATE "C" LIMIT %s""",  # noqa: S608 - constants only
                (after, limit),
            )
            return [PackRow(*row) for row in cursor]

    def pack(self, object_key: str) -> PackRow | None:
        with self.transaction() as cursor:
            cursor.execute(
                f"SELECT {_PACK} FROM pack WHERE object_key = %s",  # noqa: S608 - constants only
                (object_key,),
            )
            row = cursor.fetchone()
            return None if row is None else PackRow(*row)

    def places(self, pack_ids: Collection[str]) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {pack_id: [] for pack_id in pack_ids}
        with self.transaction() as cursor:
            cursor.execute(
                """SELECT pack_id, sop_instance_uid, digest, "offset", length FROM instance
                WHERE pack_id = ANY(%(packs)s)
                UNION ALL SELECT pack_id, sop_instance_uid, digest, "offset", length FROM conflict
                WHERE pack_id = ANY(%(packs)s)""",
                {"packs": list(pack_ids)},
            )
            for row in cursor:
                found[row[0]].append(Place(*row[1:]))
        return found

    def documents(self, after: str, limit: int) -> list[str]:
        with self.transaction() as cursor:
            cursor.execute(
                """SELECT DISTINCT institution COLLATE "C" AS institution, document COLLATE "C" AS document
                FROM tombstone WHERE document <> ''
                AND (institution COLLATE "C", document COLLATE "C") > (%s, %s) ORDER BY 1, 2 LIMIT %s""",
                (*_named(after), limit),
            )
            return [tombstone_key(row[0], row[1]) for row in cursor]

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor in a transaction; the driver's errors become ours, without the values it quotes."""
        try:
            with (
                psycopg.connect(
                    self._dsn, connect_timeout=5, application_name="pacs-archive-upkeep"
                ) as connection,
                connection.cursor() as cursor,
            ):
                yield cursor
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UndefinedTable) as error:
            raise IndexUnavailable(
                f"The index database does not answer (SQLSTATE {error.sqlstate or 'none'}).",
                action="Run the same command again; it goes on where it stopped.",
            ) from error


def _named(key: str) -> tuple[str, str]:
    """Institution and document id of a tombstone's key; empty ones for no key."""
    parts = key.split("/")
    return (parts[1], parts[3].removesuffix(".json")) if len(parts) == 4 else ("", "")
