"""Performed steps (MPPS) in PostgreSQL; the worklist entries that one names move in its transaction."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from services.archive.adapters.postgres_connections import PostgresConnections
from services.archive.adapters.postgres_worklist import move_named
from services.archive.workflow.performed_step import PerformedStep, StepStatus, duplicate, missing
from services.archive.workflow.ports import StepQuery

_COLUMNS = "institution, site, sop_instance_uid, status, calling_ae, attributes, created_at, changed_at"
_CREATE = f"""
INSERT INTO performed_step ({_COLUMNS}, study_uids) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING RETURNING sop_instance_uid
"""  # noqa: S608 - constants only
_CHANGE = """
UPDATE performed_step SET status = %s, attributes = %s, changed_at = %s WHERE institution = %s AND sop_instance_uid = %s
"""
_GET = f"SELECT {_COLUMNS} FROM performed_step WHERE institution = %s AND sop_instance_uid = %s"  # noqa: S608
_FIND = f"""
SELECT {_COLUMNS} FROM performed_step
WHERE (%(institutions)s::text[] IS NULL OR institution = ANY(%(institutions)s))
  AND (%(study)s::text IS NULL OR study_uids @> ARRAY[%(study)s::text])
  AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY changed_at DESC, sop_instance_uid DESC LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608 - constants only


class PostgresSteps:
    """`services.archive.workflow.ports.PerformedSteps` on shared connections."""

    def __init__(self, connections: PostgresConnections) -> None:
        self._transaction = connections.transaction

    def create(self, step: PerformedStep) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                _CREATE.encode(),
                (step.institution, step.site, step.sop_instance_uid, step.status, step.calling_ae, _bytes(step),
                 step.created_at, step.changed_at, list(step.study_uids)),
            )  # fmt: skip
            if cursor.fetchone() is None:
                raise duplicate(step.sop_instance_uid)
            move_named(cursor, step)

    def change(
        self, institution: str, sop_instance_uid: str, decide: Callable[[PerformedStep], PerformedStep]
    ) -> PerformedStep:
        with self._transaction() as cursor:
            cursor.execute(f"{_GET} FOR UPDATE".encode(), (institution, sop_instance_uid))
            row = cursor.fetchone()
            if row is None:
                raise missing()
            step = decide(_step(row))
            cursor.execute(
                _CHANGE, (step.status, _bytes(step), step.changed_at, institution, sop_instance_uid)
            )
            move_named(cursor, step)
            return step

    def get(self, institution: str, sop_instance_uid: str) -> PerformedStep | None:
        with self._transaction() as cursor:
            cursor.execute(_GET.encode(), (institution, sop_instance_uid))
            row = cursor.fetchone()
            return _step(row) if row is not None else None

    def find(self, query: StepQuery) -> list[PerformedStep]:
        parameters = {
            "institutions": None if query.institutions is None else sorted(query.institutions),
            "study": query.study_uid, "status": query.status, "limit": query.limit, "offset": query.offset,
        }  # fmt: skip
        with self._transaction() as cursor:
            cursor.execute(_FIND.encode(), parameters)
            return [_step(row) for row in cursor]


def _bytes(step: PerformedStep) -> bytes:
    # Not jsonb: what a modality sends may hold a NUL, which jsonb refuses.
    return json.dumps(step.attributes, separators=(",", ":")).encode()


def _step(row: Sequence[Any]) -> PerformedStep:
    institution, site, uid, status, calling_ae, attributes, created_at, changed_at = row
    return PerformedStep(
        institution, site, uid, StepStatus(status), calling_ae, json.loads(attributes), created_at, changed_at
    )
