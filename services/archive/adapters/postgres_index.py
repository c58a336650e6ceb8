"""The index in PostgreSQL 15 or later through psycopg 3 (contracts, section 11).

One transaction per pack: its statements are in `postgres_entry`, those of searches in `postgres_queries`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from services.archive.adapters import postgres_metadata, postgres_tombstones
from services.archive.adapters.postgres_connections import PostgresConnections
from services.archive.adapters.postgres_entry import enter
from services.archive.adapters.postgres_names import few_named
from services.archive.adapters.postgres_queries import Position, compile_query, position_of
from services.archive.index.query import Query
from services.archive.index.records import (
    Conflict,
    Match,
    Outcome,
    PackContent,
    ReceiptRecord,
    StoredInstance,
)
from services.archive.reading.metadata import SeriesMetadata
from services.archive.tombstones.document import Target, Tombstone

HEADERS_AT_ONCE = 500
MATCHES_AT_ONCE = 250

_STORED = """i.institution, i.site, s.study_uid, {series_uid}, i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax,
    p.object_key, i."offset", i.length, i.data_offset, i.pixel_offset, i.pixel_length, i.frames, i.digest, i.key_id"""
# Where two visible institutions hold one UID, a reader gets one copy: the first institution's.
_INSTANCES = f"""
SELECT {_STORED.format(series_uid="r.series_uid")} FROM (
    SELECT DISTINCT ON (i.sop_instance_uid) i.*
    FROM study s JOIN series r ON r.study = s.id JOIN instance i ON i.series = r.id
    WHERE s.study_uid = %(study)s
      AND (%(institutions)s::text[] IS NULL OR s.institution = ANY(%(institutions)s))
      AND (%(series)s::text IS NULL OR r.series_uid = %(series)s)
      AND (%(instance)s::text IS NULL OR i.sop_instance_uid = %(instance)s)
    ORDER BY i.sop_instance_uid, i.institution
) i JOIN series r ON r.id = i.series JOIN study s ON s.id = i.study JOIN pack p ON p.pack_id = i.pack_id
ORDER BY r.number NULLS LAST, r.series_uid, i.number NULLS LAST, i.sop_instance_uid
"""  # noqa: S608 - constants only
_HOLDINGS = f"""
SELECT {_STORED.format(series_uid="r.series_uid")}
FROM instance i JOIN series r ON r.id = i.series JOIN study s ON s.id = i.study JOIN pack p ON p.pack_id = i.pack_id
WHERE i.institution = %s AND i.sop_instance_uid = ANY(%s)
"""  # noqa: S608 - constants only
_CONFLICTS = f"""
SELECT {_STORED.format(series_uid="i.series_uid")}, i.first_digest, i.received_at
FROM conflict i JOIN study s ON s.id = i.study JOIN pack p ON p.pack_id = i.pack_id
WHERE s.study_uid = %(study)s AND (%(institutions)s::text[] IS NULL OR s.institution = ANY(%(institutions)s))
ORDER BY i.received_at, i.digest
"""  # noqa: S608 - constants only


class PostgresIndex:
    """`services.archive.ports.Index` on a pool of connections, which other adapters may share."""

    def __init__(self, dsn: str, *, connections: int = 8, patience: float = 2.0) -> None:
        self.connections = PostgresConnections(dsn, connections=connections, patience=patience)
        self._transaction = self.connections.transaction

    def close(self) -> None:
        """Give the connections back; no method may be called after."""
        self.connections.close()

    def ping(self) -> None:
        with self._transaction() as cursor:
            cursor.execute("SELECT 1 FROM pack LIMIT 1")

    def commit(self, content: PackContent, receipts: Sequence[ReceiptRecord]) -> Outcome:
        with self._transaction() as cursor:
            return enter(cursor, content, receipts)

    def unknown_packs(self, pack_ids: Collection[str]) -> set[str]:
        asked = list(pack_ids)
        with self._transaction() as cursor:
            cursor.execute("SELECT pack_id FROM pack WHERE pack_id = ANY(%s)", (asked,))
            return set(asked) - {row[0] for row in cursor}

    def rekeyed(self, pack_id: str, key_id: str | None) -> None:
        with self._transaction() as cursor:
            for table in ("pack", "instance", "conflict"):
                cursor.execute(
                    f"UPDATE {table} SET key_id = %s WHERE pack_id = %s AND key_id IS DISTINCT FROM %s".encode(),  # noqa: S608 - constants only
                    (key_id, pack_id, key_id),
                )

    def receipts(self, institution: str, pack_id: str, epoch: int) -> list[str]:
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT jws FROM receipt WHERE pack_id = %s AND epoch = %s AND institution = %s ORDER BY position",
                (pack_id, epoch, institution),
            )
            return [row[0] for row in cursor]

    def find(self, query: Query) -> list[Match]:
        return [position.match for position in self._page(query, None)]

    def each(self, query: Query) -> Iterator[Match]:
        after: Position | None = None
        while page := self._page(replace(query, limit=MATCHES_AT_ONCE, offset=0), after):
            for after in page:
                yield after.match
            if len(page) < MATCHES_AT_ONCE:
                return

    def _page(self, query: Query, after: Position | None) -> list[Position]:
        with self._transaction() as cursor:
            statement, parameters = compile_query(query, after, few_named(cursor, query))
            cursor.execute(statement, parameters, binary=True)
            return [position_of(row) for row in cursor]

    def instances(
        self,
        institutions: frozenset[str] | None,
        study_uid: str,
        series_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> list[StoredInstance]:
        parameters = {
            "institutions": _visible(institutions), "study": study_uid, "series": series_uid,
            "instance": sop_instance_uid,
        }  # fmt: skip
        with self._transaction() as cursor:
            cursor.execute(_INSTANCES.encode(), parameters, binary=True)
            return [_stored(row) for row in cursor]

    def holders(self, institutions: frozenset[str] | None, study_uid: str) -> frozenset[str]:
        with self._transaction() as cursor:
            cursor.execute(
                """SELECT institution FROM study
                WHERE study_uid = %(study)s AND (%(institutions)s::text[] IS NULL OR institution = ANY(%(institutions)s))""",
                {"institutions": _visible(institutions), "study": study_uid},
            )
            return frozenset(row[0] for row in cursor)

    def holdings(self, institution: str, sop_instance_uids: Collection[str]) -> list[StoredInstance]:
        with self._transaction() as cursor:
            cursor.execute(_HOLDINGS.encode(), (institution, list(sop_instance_uids)), binary=True)
            return [_stored(row) for row in cursor]

    def headers(self, instances: Sequence[StoredInstance]) -> list[bytes]:
        found: dict[tuple[str, str], bytes] = {}
        for start in range(0, len(instances), HEADERS_AT_ONCE):
            batch = instances[start : start + HEADERS_AT_ONCE]
            with self._transaction() as cursor:
                cursor.execute(
                    """SELECT i.institution, i.sop_instance_uid, i.dicom_json
                    FROM unnest(%s::text[], %s::text[]) AS asked (institution, sop_instance_uid)
                    JOIN instance i USING (institution, sop_instance_uid)""",
                    ([one.institution for one in batch], [one.sop_instance_uid for one in batch]),
                    binary=True,
                )
                found.update({(row[0], row[1]): row[2] for row in cursor})
        return [
            found[key] for one in instances if (key := (one.institution, one.sop_instance_uid)) in found
        ]  # fmt: skip

    def series_metadata(
        self, institutions: frozenset[str] | None, study_uid: str, series_uid: str
    ) -> SeriesMetadata | None:
        asked = {"institutions": _visible(institutions), "study": study_uid, "series": series_uid}
        found = postgres_metadata.find(self._transaction, asked)
        if found is None:
            return None
        series, blob = found
        return blob or postgres_metadata.build(self._transaction, series)[0]

    def series_without_metadata(self, quiet_seconds: float, limit: int) -> list[int]:
        return postgres_metadata.due(self._transaction, quiet_seconds, limit)

    def build_metadata(self, series: int) -> bool:
        return postgres_metadata.build(self._transaction, series)[1]

    def conflicts(self, institutions: frozenset[str] | None, study_uid: str) -> list[Conflict]:
        with self._transaction() as cursor:
            cursor.execute(
                _CONFLICTS.encode(), {"institutions": _visible(institutions), "study": study_uid}, binary=True
            )
            return [Conflict(_stored(row[:-2]), row[-2], row[-1]) for row in cursor]

    def bury(self, tombstone: Tombstone) -> int:
        with self._transaction() as cursor:
            return postgres_tombstones.bury(cursor, tombstone)

    def unknown_tombstones(self, document_ids: Collection[str]) -> set[str]:
        with self._transaction() as cursor:
            return postgres_tombstones.unknown(cursor, document_ids)

    def newest_received(self, institution: str, target: Target) -> datetime | None:
        with self._transaction() as cursor:
            return postgres_tombstones.newest_received(cursor, institution, target)


def _visible(institutions: frozenset[str] | None) -> list[str] | None:
    return None if institutions is None else sorted(institutions)


def _stored(row: Sequence[Any]) -> StoredInstance:
    flat = row[13]
    values: tuple[Any, ...] = (*row[:13], tuple(zip(flat[::2], flat[1::2], strict=True)), *row[14:])
    return StoredInstance(*values)
