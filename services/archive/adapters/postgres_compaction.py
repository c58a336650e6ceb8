"""`CompactionLedger` and `SweepLedger` on PostgreSQL: rows move, packs are retired and forgotten, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from services.archive.adapters.postgres_ledger import PostgresLedger
from services.archive.adapters.study_lock import lock_studies
from services.archive.errors import Busy
from services.archive.tombstones.document import Grave, Target
from services.archive.tombstones.reasons import outlasts_resend
from services.archive.upkeep.compaction import Move, NewPack
from services.archive.upkeep.plan import Buried, StudyState
from services.archive.upkeep.sweep import RetiredPack

# Any number that nothing else uses; see services.archive.migrate and postgres_copies.
ALONE = 0x7061_6373_0011
_VERSIONS = """SELECT i.sop_instance_uid, i.digest, i.pack_id, i."offset" FROM {table} i JOIN study s ON s.id = i.study
    WHERE s.institution = %(institution)s AND s.study_uid = %(study)s"""
_MOVE = """
UPDATE {table} i SET pack_id = %(pack)s, "offset" = m."offset", key_id = %(key)s
FROM unnest(%(uids)s::text[], %(digests)s::text[], %(old)s::text[], %(offsets)s::bigint[])
    AS m (sop_instance_uid, digest, old_pack, "offset")
WHERE i.institution = %(institution)s AND i.sop_instance_uid = m.sop_instance_uid AND i.digest = m.digest
  AND i.pack_id = m.old_pack
"""
_NEEDED = """SELECT EXISTS (SELECT FROM instance WHERE pack_id = ANY(%(packs)s))
    OR EXISTS (SELECT FROM conflict WHERE pack_id = ANY(%(packs)s))"""


class PostgresCompaction(PostgresLedger):
    """See `CompactionLedger` and `SweepLedger`."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self.transaction() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (ALONE,))
            row = cursor.fetchone()
            if row is None or not row[0]:
                raise Busy(
                    "Compaction or a sweep of this archive is under way.",
                    action="Wait for it, then run again.",
                )
            yield

    def studies_worth_a_look(self, quiet_since: datetime, fewest_packs: int) -> list[tuple[str, str]]:
        with self.transaction() as cursor:
            cursor.execute(
                """WITH living AS (
                    SELECT pack_id, count(*) AS n FROM (
                        SELECT pack_id FROM instance UNION ALL SELECT pack_id FROM conflict) v GROUP BY 1
                )
                SELECT p.institution, p.study_uid FROM pack p LEFT JOIN living USING (pack_id)
                WHERE p.retired_at IS NULL GROUP BY 1, 2
                HAVING max(p.committed_at) <= %s AND (count(*) >= %s OR sum(p.instances) > coalesce(sum(n), 0))
                ORDER BY 1, 2""",
                (quiet_since, fewest_packs),
            )
            return [(row[0], row[1]) for row in cursor]

    def pack_keys(self, institution: str, study_uid: str) -> list[str]:
        with self.transaction() as cursor:
            cursor.execute(
                """SELECT object_key FROM pack WHERE institution = %s AND study_uid = %s AND retired_at IS NULL
                ORDER BY sealed_at, object_key COLLATE "C" """,
                (institution, study_uid),
            )
            return [row[0] for row in cursor]

    def study_state(self, institution: str, study_uid: str) -> StudyState:
        asked = {"institution": institution, "study": study_uid}
        with self.transaction() as cursor:
            cursor.execute(
                f"{_VERSIONS.format(table='instance')} UNION ALL {_VERSIONS.format(table='conflict')}".encode(),
                asked,
            )
            places = {(row[0], row[1]): (row[2], row[3]) for row in cursor}
            # Tombstones of the first release name a version and no study, and have no document: its bytes stay.
            cursor.execute(
                """SELECT study_uid, series_uid, sop_instance_uid, digest, until, deleted_at, code, document
                FROM tombstone
                WHERE institution = %(institution)s AND study_uid IN ('', %(study)s)""",
                asked,
            )
            buried = tuple(
                Buried(
                    Grave(Target(*row[:4]), row[4]),
                    row[5],
                    frees=bool(row[7]) and not outlasts_resend(row[6]),
                )
                for row in cursor
            )
        return StudyState(places, buried)

    def move(self, pack: NewPack | None, moves: Sequence[Move], retired: Sequence[str]) -> bool:
        try:
            with self.transaction() as cursor:
                cursor.execute(
                    "SELECT institution, study_uid FROM pack WHERE pack_id = ANY(%s)", (list(retired),)
                )
                institution, study_uid = cursor.fetchall()[0]
                lock_studies(cursor, institution, [study_uid])
                if pack is not None:
                    row = pack.record
                    cursor.execute(
                        """INSERT INTO pack (pack_id, region, institution, site, study_uid, object_key, length,
                        instances, key_id, sealed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                        ON CONFLICT (pack_id) DO UPDATE SET retired_at = NULL, removed_at = NULL""",
                        (row.pack_id, row.region, row.institution, row.site, row.study_uid, row.object_key,
                         row.length, pack.instances, row.key_id, row.sealed_at),
                    )  # fmt: skip
                    asked = {
                        "institution": institution, "pack": row.pack_id, "key": row.key_id,
                        "uids": [one.sop_instance_uid for one in moves], "digests": [one.digest for one in moves],
                        "old": [one.old_pack for one in moves], "offsets": [one.offset for one in moves],
                    }  # fmt: skip
                    for table in ("instance", "conflict"):
                        cursor.execute(_MOVE.format(table=table).encode(), asked)
                cursor.execute(_NEEDED, {"packs": list(retired)})
                _check_unneeded(cursor.fetchone())
                cursor.execute("UPDATE pack SET retired_at = now() WHERE pack_id = ANY(%s)", (list(retired),))
        except _StillNeeded:
            return False
        return True

    def retired_packs(self, before: datetime) -> list[RetiredPack]:
        with self.transaction() as cursor:
            cursor.execute(
                """SELECT pack_id, object_key, removed_at IS NOT NULL FROM pack WHERE retired_at <= %s
                ORDER BY object_key COLLATE "C" """,
                (before,),
            )
            return [RetiredPack(*row) for row in cursor]

    def homes(
        self, institution: str, versions: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[str, int]]:
        asked = {
            "institution": institution, "uids": [uid for uid, _ in versions], "digests": [d for _, d in versions],
        }  # fmt: skip
        select = """SELECT i.sop_instance_uid, i.digest, p.object_key, p.length
            FROM unnest(%(uids)s::text[], %(digests)s::text[]) AS a (sop_instance_uid, digest)
            JOIN {table} i USING (sop_instance_uid, digest) JOIN pack p USING (pack_id)
            WHERE i.institution = %(institution)s"""
        with self.transaction() as cursor:
            cursor.execute(
                f"{select.format(table='instance')} UNION ALL {select.format(table='conflict')}".encode(),
                asked,
            )
            return {(row[0], row[1]): (row[2], row[3]) for row in cursor}

    def is_needed(self, pack_id: str) -> bool:
        with self.transaction() as cursor:
            cursor.execute(_NEEDED, {"packs": [pack_id]})
            row = cursor.fetchone()
            return row is None or bool(row[0])

    def mark_removed(self, pack_id: str) -> None:
        with self.transaction() as cursor:
            cursor.execute("UPDATE pack SET removed_at = now() WHERE pack_id = %s", (pack_id,))


def _check_unneeded(answer: tuple[Any, ...] | None) -> None:
    if answer is None or answer[0]:
        raise _StillNeeded


class _StillNeeded(Exception):
    """Ends the transaction with nothing changed."""
