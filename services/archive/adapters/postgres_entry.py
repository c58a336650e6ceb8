"""How a pack enters the index in PostgreSQL: one transaction's statements, in an order that cannot deadlock.

The study is locked first, whether or not it has a row yet, so that its packs, tombstones and compaction take turns
and different studies do not wait for each other; rows are written in the order of their UIDs.
"""

from collections.abc import Sequence
from typing import Any

from services.archive.adapters.postgres_connections import Cursor
from services.archive.adapters.postgres_tombstones import graves
from services.archive.adapters.study_lock import lock_studies
from services.archive.index.living import living_content
from services.archive.index.records import InstanceRecord, Outcome, PackContent, ReceiptRecord, StudyRecord

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


def enter(cursor: Cursor, content: PackContent, receipts: Sequence[ReceiptRecord]) -> Outcome:
    """The rows and receipts of a pack, within the caller's transaction; a known pack only gains receipts."""
    pack = content.pack
    lock_studies(cursor, pack.institution, [pack.study_uid])
    cursor.execute(
        _PACK,
        (pack.pack_id, pack.region, pack.institution, pack.site, pack.study_uid, pack.object_key, pack.length,
         len(content.instances), pack.key_id, pack.sealed_at),
    )  # fmt: skip
    is_new = cursor.fetchone() is not None
    outcome = _enter_content(cursor, content) if is_new else Outcome(0, len(content.instances), 0, 0)
    cursor.executemany(
        _RECEIPT,
        [(pack.pack_id, position, pack.institution, pack.site, r.sop_instance_uid, r.digest, r.epoch, r.key_id,
          r.committed_at, r.jws) for position, r in enumerate(receipts)],
    )  # fmt: skip
    return outcome


def _enter_content(cursor: Cursor, content: PackContent) -> Outcome:
    """Rows of a pack that was not known; within the transaction that made its pack row."""
    pack, count = content.pack, len(content.instances)
    uids = [one.sop_instance_uid for one in content.instances]
    content = living_content(content, graves(cursor, pack.institution, pack.study_uid, uids))
    living = content.instances
    tombstoned = count - len(living)
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


def _only(cursor: Cursor) -> int:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a row that this transaction just made is not there")
    return int(row[0])
