"""The index in PostgreSQL 15 or later through psycopg 3 (contracts, section 11).

One transaction per pack. The study's row is locked first, so that packs of one study commit one
after the other and those of different studies do not wait for each other; rows are written in the
order of their UIDs, so that they cannot deadlock. Queries are in `postgres_queries`.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from services.archive.adapters.postgres_queries import compile_query, match_of
from services.archive.errors import IndexUnavailable
from services.archive.index.query import Query
from services.archive.index.records import (
    Conflict,
    InstanceRecord,
    Match,
    Outcome,
    PackContent,
    ReceiptRecord,
    StoredInstance,
    StudyRecord,
)

HEADERS_AT_ONCE = 500
Cursor = psycopg.Cursor[TupleRow]

_PACK = """
INSERT INTO pack (pack_id, region, institution, site, study_uid, object_key, length, instances, key_id, sealed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING pack_id
"""
_PATIENT = """
WITH added AS (
    INSERT INTO patient (institution, site, issuer, patient_id) VALUES (%(institution)s, %(site)s, %(issuer)s, %(id)s)
    ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM added UNION ALL
SELECT id FROM patient WHERE institution = %(institution)s AND issuer = %(issuer)s AND patient_id = %(id)s
"""
_STUDY = """
INSERT INTO study (institution, site, patient, study_uid, patient_id, issuer,
    patient_name_alphabetic, patient_name_ideographic, patient_name_phonetic, birth_date, sex,
    study_date, study_time, accession_number, study_id, description,
    referring_alphabetic, referring_ideographic, referring_phonetic, attributes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_SERIES = """
INSERT INTO series (study, institution, site, series_uid, modality, number, description, performed_date,
    performed_time, requested_procedures, scheduled_steps, attributes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_LOCATION = """institution, site, sop_instance_uid, sop_class_uid, study, number, pack_id, transfer_syntax, "offset",
    length, data_offset, pixel_offset, pixel_length, frames, digest, pixel_digest, key_id, received_at,
    calling_ae, called_ae, dicom_json"""
_LOCATION_VALUES = ", ".join(["%s"] * 21)
_INSTANCE = f"""
INSERT INTO instance ({_LOCATION}, series) VALUES ({_LOCATION_VALUES}, %s)
ON CONFLICT DO NOTHING RETURNING sop_instance_uid, digest, series
"""  # noqa: S608 - constants only
_CONFLICT = f"""
INSERT INTO conflict ({_LOCATION}, series_uid, first_digest) VALUES ({_LOCATION_VALUES}, %s, %s)
ON CONFLICT DO NOTHING RETURNING sop_instance_uid, digest
"""  # noqa: S608 - constants only
_RECEIPT = """
INSERT INTO receipt (pack_id, position, institution, site, sop_instance_uid, digest, epoch, key_id, committed_at, jws)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
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
_CONFLICTS = f"""
SELECT {_STORED.format(series_uid="i.series_uid")}, i.first_digest, i.received_at
FROM conflict i JOIN study s ON s.id = i.study JOIN pack p ON p.pack_id = i.pack_id
WHERE s.study_uid = %(study)s AND (%(institutions)s::text[] IS NULL OR s.institution = ANY(%(institutions)s))
ORDER BY i.received_at, i.digest
"""  # noqa: S608 - constants only


class PostgresIndex:
    """`services.archive.ports.Index` on a pool of connections.

    It can be made while PostgreSQL is away: the pool connects in the background, and until it has,
    every call raises `IndexUnavailable` after `patience` seconds.
    """

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
        """Give the connections back; no method may be called after."""
        self._pool.close()

    def ping(self) -> None:
        with self._transaction() as cursor:
            cursor.execute("SELECT 1 FROM pack LIMIT 1")

    def commit(self, content: PackContent, receipts: Sequence[ReceiptRecord]) -> Outcome:
        pack = content.pack
        with self._transaction() as cursor:
            cursor.execute(
                _PACK,
                (pack.pack_id, pack.region, pack.institution, pack.site, pack.study_uid, pack.object_key, pack.length,
                 len(content.instances), pack.key_id, pack.sealed_at),
            )  # fmt: skip
            is_new = cursor.fetchone() is not None
            outcome = _enter(cursor, content) if is_new else Outcome(0, len(content.instances), 0, 0)
            cursor.executemany(
                _RECEIPT,
                [(pack.pack_id, position, pack.institution, pack.site, r.sop_instance_uid, r.digest, r.epoch, r.key_id,
                  r.committed_at, r.jws) for position, r in enumerate(receipts)],
            )  # fmt: skip
        return outcome

    def unknown_packs(self, pack_ids: Collection[str]) -> set[str]:
        asked = list(pack_ids)
        with self._transaction() as cursor:
            cursor.execute("SELECT pack_id FROM pack WHERE pack_id = ANY(%s)", (asked,))
            return set(asked) - {row[0] for row in cursor}

    def receipts(self, institution: str, pack_id: str, epoch: int) -> list[str]:
        with self._transaction() as cursor:
            cursor.execute(
                "SELECT jws FROM receipt WHERE pack_id = %s AND epoch = %s AND institution = %s ORDER BY position",
                (pack_id, epoch, institution),
            )
            return [row[0] for row in cursor]

    def find(self, query: Query) -> list[Match]:
        statement, parameters = compile_query(query)
        with self._transaction() as cursor:
            cursor.execute(statement, parameters, binary=True)
            return [match_of(row) for row in cursor]

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

    def conflicts(self, institutions: frozenset[str] | None, study_uid: str) -> list[Conflict]:
        with self._transaction() as cursor:
            cursor.execute(
                _CONFLICTS.encode(), {"institutions": _visible(institutions), "study": study_uid}, binary=True
            )
            return [Conflict(_stored(row[:-2]), row[-2], row[-1]) for row in cursor]

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        """A cursor in a transaction; the driver's errors become ours, without the values it quotes."""
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


def _visible(institutions: frozenset[str] | None) -> list[str] | None:
    return None if institutions is None else sorted(institutions)


def _enter(cursor: Cursor, content: PackContent) -> Outcome:
    """Rows of a pack that was not known; within the transaction that made its pack row."""
    pack = content.pack
    cursor.execute(
        "SELECT sop_instance_uid, digest FROM tombstone WHERE institution = %s AND sop_instance_uid = ANY(%s)",
        (pack.institution, [one.sop_instance_uid for one in content.instances]),
    )
    dead = {(row[0], row[1]) for row in cursor}
    living = [one for one in content.instances if (one.sop_instance_uid, one.digest) not in dead]
    tombstoned = len(content.instances) - len(living)
    if not living:
        return Outcome(0, 0, 0, tombstoned)

    study = _enter_study(cursor, content)
    series = _enter_series(cursor, content, study, {one.series_uid for one in living})
    ordered = sorted(living, key=lambda one: one.sop_instance_uid)
    added = _enter_instances(cursor, content, study, series, ordered)
    rest = [one for one in ordered if (one.sop_instance_uid, one.digest) not in added]
    conflicts = _enter_conflicts(cursor, content, study, rest) if rest else 0
    return Outcome(len(added), len(living) - len(added) - conflicts, conflicts, tombstoned)


def _enter_study(cursor: Cursor, content: PackContent) -> int:
    pack, study = content.pack, content.study
    patient = _enter_patient(cursor, content.pack.institution, content.pack.site, study)
    name, referring = study.patient_name, study.referring
    cursor.execute(
        _STUDY,
        (pack.institution, pack.site, patient, study.study_uid, study.patient_id, study.issuer,
         name.alphabetic, name.ideographic, name.phonetic, study.birth_date, study.sex,
         study.study_date, study.study_time, study.accession_number, study.study_id, study.description,
         referring.alphabetic, referring.ideographic, referring.phonetic, study.attributes),
    )  # fmt: skip
    cursor.execute(
        "SELECT id FROM study WHERE study_uid = %s AND institution = %s FOR UPDATE",
        (study.study_uid, pack.institution),
    )
    return _only(cursor)


def _enter_patient(cursor: Cursor, institution: str, site: str, study: StudyRecord) -> int | None:
    if not study.patient_id:
        return None
    asked = {"institution": institution, "site": site, "issuer": study.issuer, "id": study.patient_id}
    cursor.execute(_PATIENT, asked)
    row = cursor.fetchone()
    if row is None:
        # Another transaction added it after our snapshot began: a new statement sees it.
        cursor.execute(_PATIENT, asked)
        return _only(cursor)
    return int(row[0])


def _enter_series(cursor: Cursor, content: PackContent, study: int, wanted: set[str]) -> dict[str, int]:
    pack = content.pack
    chosen = sorted(
        (one for one in content.series if one.series_uid in wanted), key=lambda one: one.series_uid
    )
    cursor.executemany(
        _SERIES,
        [(study, pack.institution, pack.site, one.series_uid, one.modality, one.number, one.description,
          one.performed_date, one.performed_time, list(one.requested_procedures), list(one.scheduled_steps),
          one.attributes) for one in chosen],
    )  # fmt: skip
    cursor.execute("SELECT series_uid, id FROM series WHERE study = %s", (study,))
    return dict(cursor.fetchall())


def _enter_instances(
    cursor: Cursor,
    content: PackContent,
    study: int,
    series: dict[str, int],
    instances: Sequence[InstanceRecord],
) -> set[tuple[str, str]]:
    """Identity and digest of those that were new; the series' counters follow."""
    cursor.executemany(
        _INSTANCE.encode(),
        [(*_location(content, study, one), series[one.series_uid]) for one in instances],
        returning=True,
    )
    added = {(row[0], row[1]): row[2] for result in cursor.results() for row in result}
    counts: dict[int, int] = {}
    for series_id in added.values():
        counts[series_id] = counts.get(series_id, 0) + 1
    cursor.executemany(
        "UPDATE series SET instances = instances + %s WHERE id = %s", [(n, i) for i, n in counts.items()]
    )
    return set(added)


def _enter_conflicts(cursor: Cursor, content: PackContent, study: int, rest: Sequence[InstanceRecord]) -> int:
    cursor.execute(
        "SELECT sop_instance_uid, digest FROM instance WHERE institution = %s AND sop_instance_uid = ANY(%s)",
        (content.pack.institution, [one.sop_instance_uid for one in rest]),
    )
    first: dict[str, str] = dict(cursor.fetchall())
    differing = [one for one in rest if first[one.sop_instance_uid] != one.digest]
    if not differing:
        return 0
    cursor.executemany(
        _CONFLICT.encode(),
        [(*_location(content, study, one), one.series_uid, first[one.sop_instance_uid]) for one in differing],
        returning=True,
    )
    return sum(1 for result in cursor.results() for _ in result)


def _location(content: PackContent, study: int, one: InstanceRecord) -> tuple[Any, ...]:
    pack = content.pack
    return (
        pack.institution, pack.site, one.sop_instance_uid, one.sop_class_uid, study, one.number, pack.pack_id,
        one.transfer_syntax, one.offset, one.length, one.data_offset, one.pixel_offset, one.pixel_length,
        [number for frame in one.frames for number in frame], one.digest, one.pixel_digest, pack.key_id,
        one.received_at, one.calling_ae, one.called_ae, one.dicom_json,
    )  # fmt: skip


def _stored(row: Sequence[Any]) -> StoredInstance:
    flat = row[13]
    values: tuple[Any, ...] = (*row[:13], tuple(zip(flat[::2], flat[1::2], strict=True)), *row[14:])
    return StoredInstance(*values)


def _only(cursor: Cursor) -> int:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a row that this transaction just made is not there")
    return int(row[0])
