"""The worklist in PostgreSQL. SQL narrows by what is indexed; `WorklistQuery.fits` decides, here as in memory."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from services.archive.adapters.postgres_connections import Cursor, PostgresConnections
from services.archive.index.query import OneOf
from services.archive.workflow.order import Order
from services.archive.workflow.performed_step import PerformedStep
from services.archive.workflow.worklist import (
    Entry,
    EntryState,
    Placed,
    WorklistQuery,
    cancelled,
    moved,
    placed,
)

PAGE = 200
_COLUMNS = "institution, site, entry_id, document::text, state, changed_at, performed_step"
_PUT = """
INSERT INTO worklist_entry (institution, site, entry_id, state, station_ae_titles, modality, start_at, patient_id,
    accession_number, study_uid, step_id, document, changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s)
ON CONFLICT (institution, entry_id) DO UPDATE SET site = excluded.site, state = excluded.state,
    station_ae_titles = excluded.station_ae_titles, modality = excluded.modality, start_at = excluded.start_at,
    patient_id = excluded.patient_id, accession_number = excluded.accession_number, study_uid = excluded.study_uid,
    step_id = excluded.step_id, document = excluded.document, changed_at = excluded.changed_at, performed_step = NULL
"""
_GET = f"SELECT {_COLUMNS} FROM worklist_entry WHERE institution = %s AND entry_id = %s"  # noqa: S608 - constants only
_FIND = f"""
SELECT {_COLUMNS} FROM worklist_entry
WHERE (%(institutions)s::text[] IS NULL OR institution = ANY(%(institutions)s)) AND state = ANY(%(states)s)
  AND (%(low)s::timestamp IS NULL OR start_at >= %(low)s) AND (%(high)s::timestamp IS NULL OR start_at <= %(high)s)
  AND (%(patients)s::text[] IS NULL OR patient_id = ANY(%(patients)s))
  AND (%(accessions)s::text[] IS NULL OR accession_number = ANY(%(accessions)s))
  AND (%(stations)s::text[] IS NULL OR station_ae_titles && %(stations)s)
  AND (%(after)s::timestamp IS NULL OR (start_at, institution, entry_id) > (%(after)s, %(after_institution)s, %(after_id)s))
ORDER BY start_at, institution, entry_id LIMIT %(page)s
"""  # noqa: S608 - constants only
_NAMED = f"""
SELECT {_COLUMNS} FROM worklist_entry
WHERE institution = %s AND step_id = ANY(%s) AND (study_uid = ANY(%s) OR accession_number = ANY(%s))
ORDER BY entry_id FOR UPDATE
"""  # noqa: S608 - constants only


class PostgresWorklist:
    """`services.archive.workflow.ports.Worklist` on shared connections."""

    def __init__(self, connections: PostgresConnections) -> None:
        self._transaction = connections.transaction

    def put(self, entry: Entry) -> Placed:
        with self._transaction() as cursor:
            # Two that add the same entry at once take turns: there is no row yet that could be locked.
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                (f"worklist {entry.institution}/{entry.entry_id}",),
            )
            done = placed(_locked(cursor, entry.institution, entry.entry_id), entry)
            if done is not Placed.UNCHANGED:
                order = entry.order
                cursor.execute(
                    _PUT,
                    (entry.institution, entry.site, entry.entry_id, EntryState.SCHEDULED,
                     list(order.step.station_ae_titles), order.step.modality, order.step.start, order.patient.id,
                     order.accession_number, entry.study_uid, order.step.id, order.model_dump_json(),
                     entry.changed_at),
                )  # fmt: skip
            return done

    def cancel(self, institution: str, entry_id: str, now: datetime) -> Entry | None:
        with self._transaction() as cursor:
            known = _locked(cursor, institution, entry_id)
            if known is None:
                return None
            after = cancelled(known, now)
            _move(cursor, after)
            return after

    def get(self, institution: str, entry_id: str) -> Entry | None:
        with self._transaction() as cursor:
            cursor.execute(_GET.encode(), (institution, entry_id))
            row = cursor.fetchone()
            return _entry(row) if row is not None else None

    def find(self, query: WorklistQuery) -> Iterator[Entry]:
        parameters = _narrowed(query)
        while True:
            with self._transaction() as cursor:
                cursor.execute(_FIND.encode(), parameters)
                page = [_entry(row) for row in cursor]
            yield from (entry for entry in page if query.fits(entry))
            if len(page) < PAGE:
                return
            last = page[-1]
            parameters |= {
                "after": last.order.step.start, "after_institution": last.institution, "after_id": last.entry_id,
            }  # fmt: skip


def move_named(cursor: Cursor, step: PerformedStep) -> None:
    """Move the entries that a performed step names, within its transaction."""
    links = [link for link in step.links if link.step_id]
    if not links:
        return
    accessions = [link.accession_number for link in links if link.accession_number]
    cursor.execute(
        _NAMED.encode(),
        (step.institution, [link.step_id for link in links], [link.study_uid for link in links], accessions),
    )
    for entry in [_entry(row) for row in cursor]:
        after = moved(entry, step)
        if after is not entry:
            _move(cursor, after)


def _move(cursor: Cursor, entry: Entry) -> None:
    cursor.execute(
        "UPDATE worklist_entry SET state = %s, changed_at = %s, performed_step = %s"
        " WHERE institution = %s AND entry_id = %s",
        (entry.state, entry.changed_at, entry.performed_step, entry.institution, entry.entry_id),
    )


def _locked(cursor: Cursor, institution: str, entry_id: str) -> Entry | None:
    cursor.execute(f"{_GET} FOR UPDATE".encode(), (institution, entry_id))
    row = cursor.fetchone()
    return _entry(row) if row is not None else None


def _entry(row: Sequence[Any]) -> Entry:
    institution, site, entry_id, document, state, changed_at, performed_step = row
    order = Order.model_validate_json(document)
    return Entry(institution, site, entry_id, order, EntryState(state), changed_at, performed_step)


def _narrowed(query: WorklistQuery) -> dict[str, Any]:
    def exactly(key: str) -> list[str] | None:
        matcher = query.texts.get(key)
        return [str(value) for value in matcher.values] if isinstance(matcher, OneOf) else None

    dates = query.dates
    return {
        "institutions": None if query.institutions is None else sorted(query.institutions),
        "states": sorted(query.states),
        "low": _day(dates.low, "000000") if dates is not None else None,
        "high": _day(dates.high, "235959.999999") if dates is not None else None,
        "patients": exactly("patient_id"), "accessions": exactly("accession_number"),
        "stations": exactly("station_ae_title"),
        "after": None, "after_institution": "", "after_id": "", "page": PAGE,
    }  # fmt: skip


def _day(date: str, clock: str) -> datetime | None:
    """A bound on the day; none where eight digits are no day, which then fits nothing or everything as text does."""
    try:
        whole = datetime.strptime(f"{date}{clock}", "%Y%m%d%H%M%S.%f" if "." in clock else "%Y%m%d%H%M%S")  # noqa: DTZ007 - local, as modalities have it
    except ValueError:
        return None
    return whole
