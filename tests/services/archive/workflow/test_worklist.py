"""Rules of `services.archive.workflow.worklist`: periods, states, and the study that an entry has."""

import pytest

from services.archive.index.query import Between
from services.archive.workflow.performed_step import StepStatus
from services.archive.workflow.worklist import EntryState, WorklistQuery, state_after
from tests.services.archive.workflow.orders import an_entry


@pytest.mark.parametrize(
    ("dates", "times", "start", "fits"),
    [
        # Two ranges are one period: from the fifth at ten to the seventh at eighteen hours.
        ("20250705-20250707", "10-18", "2025-07-05T09:59:59", False),
        ("20250705-20250707", "10-18", "2025-07-05T10:00:00", True),
        ("20250705-20250707", "10-18", "2025-07-06T03:00:00", True),
        ("20250705-20250707", "10-18", "2025-07-07T18:00:00", True),
        ("20250705-20250707", "10-18", "2025-07-07T18:00:01", False),
        ("20250705-", "10-18", "2025-08-01T23:00:00", True),
        ("20250705-", "10-18", "2025-07-05T09:00:00", False),
        ("-20250707", "-18", "2025-07-07T19:00:00", False),
        ("-20250707", "-18", "2025-01-01T23:00:00", True),
        # A day and a range are not.
        ("20250706-20250706", "10-18", "2025-07-06T09:00:00", False),
        ("20250706-20250706", "10-18", "2025-07-06T12:00:00", True),
    ],
)
def test_dates_and_times_are_matched_as_the_standard_says(
    dates: str, times: str, start: str, fits: bool
) -> None:
    def between(text: str, fill: str) -> Between:
        low, _, high = text.partition("-")
        return Between(low + fill * bool(low), high + fill * bool(high))

    query = WorklistQuery(None, dates=between(dates, ""), times=between(times, "0000.000000"))
    assert query.fits(an_entry(step__start=start)) is fits


@pytest.mark.parametrize(
    ("state", "performed", "after"),
    [
        ("SCHEDULED", "IN PROGRESS", "STARTED"), ("SCHEDULED", "COMPLETED", "COMPLETED"),
        ("SCHEDULED", "DISCONTINUED", "DISCONTINUED"), ("STARTED", "IN PROGRESS", "STARTED"),
        ("STARTED", "COMPLETED", "COMPLETED"), ("STARTED", "DISCONTINUED", "DISCONTINUED"),
        ("COMPLETED", "IN PROGRESS", "COMPLETED"), ("COMPLETED", "DISCONTINUED", "COMPLETED"),
        ("DISCONTINUED", "IN PROGRESS", "STARTED"), ("CANCELLED", "COMPLETED", "COMPLETED"),
        ("CANCELLED", "IN PROGRESS", "STARTED"), ("CANCELLED", "DISCONTINUED", "CANCELLED"),
    ],
)  # fmt: skip
def test_what_was_performed_decides_where_an_entry_stands(state: str, performed: str, after: str) -> None:
    assert state_after(EntryState(state), StepStatus(performed)) is EntryState(after)


def test_an_entry_without_a_study_has_one_of_its_own_always_the_same() -> None:
    first, again = (an_entry(procedure__study_instance_uid=None).study_uid for _ in range(2))
    other = an_entry("E2", procedure__study_instance_uid=None).study_uid
    foreign = an_entry(institution="zhidan", procedure__study_instance_uid=None).study_uid
    assert first == again
    assert first.startswith("2.25.")
    assert len({first, other, foreign}) == 3
    assert an_entry().study_uid == "1.2.3"
