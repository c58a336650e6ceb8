"""Metadata blobs in PostgreSQL: read where they are current, built from the rows where they are not.

A trigger (revision 0009) says which are not. A blob is made from one snapshot and kept only if the series is still
what that snapshot showed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from services.archive.reading.metadata import SeriesMetadata, packed

Cursor = psycopg.Cursor[TupleRow]
Transaction = Callable[[], AbstractContextManager[Cursor]]

_ROWS_AT_ONCE = 200
_FIND = """
SELECT r.id, m.built = m.version, m.etag, CASE WHEN m.built = m.version THEN m.content END
FROM study s JOIN series r ON r.study = s.id LEFT JOIN series_metadata m ON m.series = r.id
WHERE s.study_uid = %(study)s AND r.series_uid = %(series)s
  AND (%(institutions)s::text[] IS NULL OR s.institution = ANY(%(institutions)s))
  AND EXISTS (SELECT FROM instance i WHERE i.series = r.id)
LIMIT 2
"""
_DUE = """
SELECT series FROM series_metadata
WHERE built IS DISTINCT FROM version AND changed_at <= now() - make_interval(secs => %s)
ORDER BY changed_at LIMIT %s
"""
_OBJECTS = "SELECT dicom_json FROM instance WHERE series = %s ORDER BY number NULLS LAST, sop_instance_uid"
_KEEP = (
    "UPDATE series_metadata SET built = version, etag = %s, content = %s WHERE series = %s AND version = %s"
)


def find(transaction: Transaction, asked: dict[str, Any]) -> tuple[int, SeriesMetadata | None] | None:
    """The only series that fits and its blob where that is current; None for no series, or for several."""
    with transaction() as cursor:
        cursor.execute(_FIND, asked, binary=True)
        rows = cursor.fetchall()
    if len(rows) != 1:
        return None
    series, current, etag, content = rows[0]
    return series, SeriesMetadata(etag, content) if current else None


def due(transaction: Transaction, quiet_seconds: float, limit: int) -> list[int]:
    """Series whose blob is out of date and that have not changed for a while, the longest first."""
    with transaction() as cursor:
        cursor.execute(_DUE, (quiet_seconds, limit))
        return [row[0] for row in cursor]


def build(transaction: Transaction, series: int) -> tuple[SeriesMetadata | None, bool]:
    """The blob of a series as it is now (None: it is gone), and whether it was kept."""
    with transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT version FROM series_metadata WHERE series = %s", (series,))
        row = cursor.fetchone()
        if row is None:
            return None, False
        blob = packed(_objects(cursor, series))
    with transaction() as cursor:
        cursor.execute(_KEEP, (blob.etag, blob.content, series, row[0]))
        return blob, cursor.rowcount == 1


def _objects(cursor: Cursor, series: int) -> Iterator[bytes]:
    with cursor.connection.cursor(name="objects") as rows:
        rows.itersize = _ROWS_AT_ONCE
        rows.execute(_OBJECTS.encode(), (series,), binary=True)
        for row in rows:
            yield row[0]
