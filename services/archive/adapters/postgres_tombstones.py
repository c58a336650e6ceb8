"""Tombstones in PostgreSQL: which versions they hide, and how hidden rows leave the index."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from services.archive.adapters.study_lock import lock_studies
from services.archive.index.living import described_series, described_study
from services.archive.tombstones.document import Grave, Target, Tombstone

Cursor = psycopg.Cursor[TupleRow]

_GRAVES = """
SELECT study_uid, series_uid, sop_instance_uid, digest, until FROM tombstone
WHERE institution = %(institution)s AND (
    study_uid = %(study)s AND sop_instance_uid = '' OR
    study_uid IN ('', %(study)s) AND sop_instance_uid = ANY(%(instances)s))
"""
_TOMBSTONE = """
INSERT INTO tombstone (institution, site, study_uid, series_uid, sop_instance_uid, digest, reason, code,
    deleted_by, deleted_at, until, document)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
# Rows of `instance` or `conflict` that targets hide; those that name an instance are found by it.
_HIDE = """
WITH target AS (
    SELECT * FROM unnest(%(studies)s::text[], %(series)s::text[], %(instances)s::text[], %(digests)s::text[])
        AS t (study_uid, series_uid, sop_instance_uid, digest)
), dead AS (
    SELECT i.sop_instance_uid, i.digest FROM target t
    JOIN {table} i ON i.institution = %(institution)s AND i.sop_instance_uid = t.sop_instance_uid
    JOIN study s ON s.id = i.study AND s.study_uid = t.study_uid {series_join}
    WHERE t.sop_instance_uid <> '' AND t.series_uid IN ('', {series_uid}) AND t.digest IN ('', i.digest)
      AND (%(until)s::timestamptz IS NULL OR i.received_at <= %(until)s)
    UNION
    SELECT i.sop_instance_uid, i.digest FROM target t
    JOIN study s ON s.study_uid = t.study_uid AND s.institution = %(institution)s
    JOIN {table} i ON i.study = s.id {series_join}
    WHERE t.sop_instance_uid = '' AND t.series_uid IN ('', {series_uid})
      AND (%(until)s::timestamptz IS NULL OR i.received_at <= %(until)s)
)
DELETE FROM {table} i USING dead
WHERE i.institution = %(institution)s AND i.sop_instance_uid = dead.sop_instance_uid AND i.digest = dead.digest
"""
_COLUMNS = """institution, site, sop_instance_uid, sop_class_uid, study, number, pack_id, transfer_syntax, "offset",
    length, data_offset, pixel_offset, pixel_length, frames, digest, pixel_digest, key_id, received_at,
    calling_ae, called_ae, dicom_json"""
# The oldest version that is left of an instance whose first one is hidden takes its place.
_PROMOTE = f"""
WITH heir AS (
    SELECT DISTINCT ON (c.sop_instance_uid) c.* FROM conflict c JOIN pack p USING (pack_id)
    WHERE c.study = %(study)s AND NOT EXISTS (
        SELECT FROM instance i WHERE i.sop_instance_uid = c.sop_instance_uid AND i.institution = c.institution)
    ORDER BY c.sop_instance_uid, p.sealed_at, p.object_key, c."offset"
), made AS (
    INSERT INTO instance ({_COLUMNS}, series)
    SELECT {", ".join("h." + name.strip() for name in _COLUMNS.split(","))}, r.id
    FROM heir h JOIN series r ON r.study = h.study AND r.series_uid = h.series_uid
    RETURNING sop_instance_uid, digest
), gone AS (
    DELETE FROM conflict c USING made
    WHERE c.study = %(study)s AND c.sop_instance_uid = made.sop_instance_uid AND c.digest = made.digest
)
UPDATE conflict c SET first_digest = made.digest FROM made
WHERE c.study = %(study)s AND c.sop_instance_uid = made.sop_instance_uid AND c.digest <> made.digest
"""  # noqa: S608 - constants only
_FIRST = """
SELECT DISTINCT ON (i.series) i.series, i.dicom_json, p.sealed_at, p.object_key, i."offset"
FROM instance i JOIN pack p USING (pack_id) WHERE i.study = %s
ORDER BY i.series, p.sealed_at, p.object_key, i."offset"
"""


def graves(cursor: Cursor, institution: str, study_uid: str, instances: Collection[str]) -> list[Grave]:
    """What is hidden of these instances of a study."""
    cursor.execute(
        _GRAVES, {"institution": institution, "study": study_uid, "instances": sorted(set(instances))}
    )
    return [Grave(Target(*row[:4]), row[4]) for row in cursor]


def unknown(cursor: Cursor, document_ids: Collection[str]) -> set[str]:
    """Those of `document_ids` that were never entered."""
    asked = list(document_ids)
    cursor.execute("SELECT DISTINCT document FROM tombstone WHERE document = ANY(%s)", (asked,))
    return set(asked) - {row[0] for row in cursor}


def newest_received(cursor: Cursor, institution: str, target: Target) -> datetime | None:
    """When the newest version of what `target` names was received; None where there is nothing."""
    cursor.execute(
        """SELECT max(i.received_at) FROM study s JOIN (
            SELECT i.study, r.series_uid, i.sop_instance_uid, i.received_at FROM instance i
                JOIN series r ON r.id = i.series
            UNION ALL SELECT study, series_uid, sop_instance_uid, received_at FROM conflict
        ) i ON i.study = s.id
        WHERE s.institution = %(institution)s AND s.study_uid = %(study)s
          AND (%(series)s = '' OR i.series_uid = %(series)s)
          AND (%(instance)s = '' OR i.sop_instance_uid = %(instance)s)""",
        {
            "institution": institution, "study": target.study_uid, "series": target.series_uid,
            "instance": target.sop_instance_uid,
        },
    )  # fmt: skip
    row = cursor.fetchone()
    return None if row is None else row[0]


def bury(cursor: Cursor, tombstone: Tombstone) -> int:
    """The tombstone's rows, and the hidden ones out of the index, in the caller's transaction; how many went."""
    institution = tombstone.institution
    lock_studies(cursor, institution, tombstone.study_uids)
    cursor.executemany(
        _TOMBSTONE,
        [(institution, tombstone.site, t.study_uid, t.series_uid, t.sop_instance_uid, t.digest, tombstone.reason,
          tombstone.code, tombstone.deleted_by, tombstone.deleted_at, tombstone.until, tombstone.document_id)
         for t in tombstone.targets],
    )  # fmt: skip
    parameters = {
        "institution": institution, "until": tombstone.until,
        "studies": [t.study_uid for t in tombstone.targets], "series": [t.series_uid for t in tombstone.targets],
        "instances": [t.sop_instance_uid for t in tombstone.targets], "digests": [t.digest for t in tombstone.targets],
    }  # fmt: skip
    removed = 0
    for table, series_uid, join in (
        ("instance", "r.series_uid", "JOIN series r ON r.id = i.series"), ("conflict", "i.series_uid", ""),
    ):  # fmt: skip
        cursor.execute(
            _HIDE.format(table=table, series_uid=series_uid, series_join=join).encode(), parameters
        )
        removed += cursor.rowcount
    if removed:
        cursor.execute(
            "SELECT id, study_uid FROM study WHERE institution = %s AND study_uid = ANY(%s) ORDER BY study_uid FOR UPDATE",
            (institution, tombstone.study_uids),
        )
        for study, study_uid in cursor.fetchall():
            describe(cursor, study, study_uid)
    return removed


def describe(cursor: Cursor, study: int, study_uid: str) -> None:
    """Bring a study, its series and their counters in line with the instances that are left."""
    cursor.execute(_PROMOTE.encode(), {"study": study})
    cursor.execute(
        """UPDATE series r SET instances = (SELECT count(*) FROM instance i WHERE i.series = r.id)
        WHERE r.study = %s""",
        (study,),
    )
    cursor.execute(
        """DELETE FROM series r WHERE study = %s AND instances = 0 AND NOT EXISTS (
            SELECT FROM conflict c WHERE c.study = r.study AND c.series_uid = r.series_uid)""",
        (study,),
    )
    cursor.execute(_FIRST, (study,))
    first = cursor.fetchall()
    if not first:
        cursor.execute("DELETE FROM study WHERE id = %s", (study,))
        return
    _describe_series(cursor, first)
    oldest = min(first, key=lambda row: row[2:])
    _describe_study(cursor, study, study_uid, oldest[1])


def _describe_series(cursor: Cursor, first: Iterable[tuple[Any, ...]]) -> None:
    for series, dicom_json, *_ in first:
        one = described_series(dicom_json, "")
        cursor.execute(
            """UPDATE series SET modality = %s, number = %s, description = %s, performed_date = %s,
            performed_time = %s, requested_procedures = %s, scheduled_steps = %s, attributes = %s WHERE id = %s""",
            (one.modality, one.number, one.description, one.performed_date, one.performed_time,
             list(one.requested_procedures), list(one.scheduled_steps), one.attributes, series),
        )  # fmt: skip


def _describe_study(cursor: Cursor, study: int, study_uid: str, dicom_json: bytes) -> None:
    one = described_study(dicom_json, study_uid)
    name, referring = one.patient_name, one.referring
    cursor.execute(
        """UPDATE study SET patient = %s, patient_id = %s, issuer = %s, patient_name_alphabetic = %s,
        patient_name_ideographic = %s, patient_name_phonetic = %s, birth_date = %s, sex = %s, study_date = %s,
        study_time = %s, accession_number = %s, study_id = %s, description = %s, referring_alphabetic = %s,
        referring_ideographic = %s, referring_phonetic = %s, attributes = %s WHERE id = %s""",
        (_patient(cursor, study, one.issuer, one.patient_id), one.patient_id, one.issuer, name.alphabetic,
         name.ideographic, name.phonetic, one.birth_date, one.sex, one.study_date, one.study_time,
         one.accession_number, one.study_id, one.description, referring.alphabetic, referring.ideographic,
         referring.phonetic, one.attributes, study),
    )  # fmt: skip


def _patient(cursor: Cursor, study: int, issuer: str, patient_id: str) -> int | None:
    """The patient's row, made if need be; None where there is no patient id."""
    if not patient_id:
        return None
    cursor.execute(
        """INSERT INTO patient (institution, site, issuer, patient_id)
        SELECT institution, site, %s, %s FROM study WHERE id = %s ON CONFLICT DO NOTHING""",
        (issuer, patient_id, study),
    )
    # A statement of its own: it sees the row that another transaction made meanwhile.
    cursor.execute(
        """SELECT p.id FROM patient p JOIN study s ON s.institution = p.institution
        WHERE s.id = %s AND p.issuer = %s AND p.patient_id = %s""",
        (study, issuer, patient_id),
    )
    row = cursor.fetchone()
    return None if row is None else int(row[0])
