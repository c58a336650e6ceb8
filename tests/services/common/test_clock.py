"""Rules of time."""

from datetime import UTC, datetime, timedelta, timezone

from services.common.clock import SystemClock, rfc3339


def test_time_is_aware_utc_and_written_as_rfc_3339() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
    beijing = datetime(2025, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=8)))
    assert rfc3339(beijing) == "2025-03-01T00:00:00.000000Z"
