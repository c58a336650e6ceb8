"""Storage commitment requests in PostgreSQL: a queue that several replicas take from (`FOR UPDATE SKIP LOCKED`)."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from services.archive.adapters.postgres_connections import PostgresConnections
from services.archive.workflow.commitment import (
    HELD_AT_FIRST,
    CommitmentRequest,
    CommitmentReused,
    CommitmentState,
    Outcome,
    Reference,
    Waiting,
)

_ACCEPT = """
INSERT INTO storage_commitment (institution, site, calling_ae, transaction_uid, instances, received_at, holder, due_at,
    lease_until, state)
VALUES (%s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s, 'WAITING')
ON CONFLICT (institution, calling_ae, transaction_uid) DO UPDATE SET received_at = excluded.received_at,
    holder = excluded.holder, due_at = excluded.due_at, lease_until = excluded.lease_until, state = 'WAITING',
    attempts = 0, outcome = NULL, closed_at = NULL
WHERE storage_commitment.instances = excluded.instances
RETURNING transaction_uid
"""
_CLAIM = """
UPDATE storage_commitment SET holder = %(holder)s, lease_until = %(until)s
WHERE (institution, calling_ae, transaction_uid) = (
    SELECT institution, calling_ae, transaction_uid FROM storage_commitment
    WHERE institution = %(institution)s AND state = 'WAITING' AND due_at <= %(now)s
      AND (holder = %(holder)s OR lease_until <= %(now)s)
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING institution, site, calling_ae, transaction_uid, instances, received_at, attempts
"""
_ONE = "institution = %s AND calling_ae = %s AND transaction_uid = %s"


class PostgresCommitments:
    """`services.archive.workflow.ports.Commitments` on shared connections."""

    def __init__(self, connections: PostgresConnections) -> None:
        self._transaction = connections.transaction

    def accept(self, request: CommitmentRequest, holder: str) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                _ACCEPT,
                (*_key(request)[:1], request.site, *_key(request)[1:], _json(request.references), request.received_at,
                 holder, request.received_at, request.received_at + HELD_AT_FIRST),
            )  # fmt: skip
            if cursor.fetchone() is None:
                raise CommitmentReused

    def claim(self, institution: str, holder: str, now: datetime, lease: timedelta) -> Waiting | None:
        with self._transaction() as cursor:
            cursor.execute(
                _CLAIM, {"institution": institution, "holder": holder, "now": now, "until": now + lease}
            )
            row = cursor.fetchone()
        if row is None:
            return None
        institution, site, calling_ae, transaction_uid, instances, received_at, attempts = row
        references = tuple(Reference(*one) for one in instances)
        request = CommitmentRequest(institution, site, calling_ae, transaction_uid, references, received_at)
        return Waiting(request, attempts)

    def postpone(self, waiting: Waiting, due_at: datetime) -> None:
        with self._transaction() as cursor:
            cursor.execute(
                f"UPDATE storage_commitment SET due_at = %s, attempts = %s WHERE {_ONE}".encode(),  # noqa: S608
                (due_at, waiting.attempts, *_key(waiting.request)),
            )

    def close(
        self, request: CommitmentRequest, state: CommitmentState, outcome: Outcome, now: datetime
    ) -> None:
        failed = [[one.sop_class_uid, one.sop_instance_uid, reason] for one, reason in outcome.failed]
        with self._transaction() as cursor:
            cursor.execute(
                f"UPDATE storage_commitment SET state = %s, outcome = %s::jsonb, closed_at = %s WHERE {_ONE}".encode(),  # noqa: S608
                (
                    state,
                    json.dumps({"committed": len(outcome.committed), "failed": failed}),
                    now,
                    *_key(request),
                ),
            )

    def state(self, institution: str, calling_ae: str, transaction_uid: str) -> CommitmentState | None:
        with self._transaction() as cursor:
            cursor.execute(
                f"SELECT state FROM storage_commitment WHERE {_ONE}".encode(),  # noqa: S608
                (institution, calling_ae, transaction_uid),
            )
            row = cursor.fetchone()
            return CommitmentState(row[0]) if row is not None else None


def _json(references: Iterable[Reference]) -> str:
    return json.dumps([[one.sop_class_uid, one.sop_instance_uid] for one in references])


def _key(request: CommitmentRequest) -> tuple[str, str, str]:
    return request.institution, request.calling_ae, request.transaction_uid
