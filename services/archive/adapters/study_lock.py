"""One writer of a study at a time: commits, tombstones and compaction take this lock in their transactions."""

from collections.abc import Collection
from typing import Any

import psycopg


def lock_studies(cursor: psycopg.Cursor[Any], institution: str, study_uids: Collection[str]) -> None:
    """Wait for whoever else writes one of these studies; held until the transaction ends.

    Several are taken in the order of their UIDs, so that two writers never wait for each other.
    """
    for study_uid in sorted(set(study_uids)):
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{institution} {study_uid}",)
        )
