from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.layout.sizing import (
    RENDERING_BYTES,
    SizingError,
    archive_limit_bytes,
    branch_archive_bytes,
    branch_cache_bytes,
    branch_metrics_bytes,
    check_retention_fits,
    format_bytes,
    osd_memory_bytes,
    retention_days,
    size_bytes,
)

sizes = st.builds(
    lambda count, unit: f"{count}{unit}", st.integers(1, 9999), st.sampled_from(["Mi", "Gi", "Ti"])
)


@given(st.integers(1, 10_000))
def test_a_thousand_and_twenty_four_of_a_unit_is_one_of_the_next(count: int) -> None:
    assert size_bytes(f"{count * 1024}Mi") == size_bytes(f"{count}Gi")
    assert size_bytes(f"{count * 1024}Gi") == size_bytes(f"{count}Ti")


@given(st.text(max_size=8))
def test_a_size_is_read_or_refused_but_never_guessed(text: str) -> None:
    try:
        assert size_bytes(text) >= 1 << 20
    except SizingError as problem:
        assert "allowed" in str(problem)


@pytest.mark.parametrize(("text", "days"), [("P90D", 90), ("P3M", 93), ("P1Y", 366)])
def test_a_retention_is_never_shorter_than_what_was_promised(text: str, days: int) -> None:
    assert retention_days(text) == days


@pytest.mark.parametrize("text", ["3M", "P0M", "PT3H", "P3W", "P1M2D", "P-1D", ""])
def test_a_duration_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(SizingError):
        retention_days(text)


@given(sizes, sizes, st.integers(1, 400))
def test_a_retention_is_taken_only_if_every_day_of_it_fits(disk: str, daily: str, days: int) -> None:
    fits = size_bytes(daily) * days <= branch_cache_bytes(disk)
    if fits:
        check_retention_fits("a", disk, daily, f"P{days}D")
    else:
        with pytest.raises(SizingError, match="Give it a larger disk"):
            check_retention_fits("a", disk, daily, f"P{days}D")


@given(sizes)
def test_a_branch_never_gives_all_of_its_disk_to_images(disk: str) -> None:
    assert 0 < branch_cache_bytes(disk) < size_bytes(disk)


@given(sizes)
def test_metrics_of_a_branch_take_a_small_part_of_what_images_leave(disk: str) -> None:
    reserve = size_bytes(disk) - branch_cache_bytes(disk)
    assert 0 < branch_metrics_bytes(disk) <= reserve / 4


@pytest.mark.parametrize(
    ("memory", "share"), [("1Gi", 512 << 20), ("4Gi", 1 << 30), ("32Gi", 8 << 30), ("64Gi", 16 << 30)]
)
def test_a_branchs_archive_gets_a_quarter_of_its_memory_and_enough_to_start(memory: str, share: int) -> None:
    assert branch_archive_bytes(memory) == share


def test_rendering_workers_have_their_memory_beside_the_archives() -> None:
    assert archive_limit_bytes(1 << 30, 3) == (1 << 30) + 3 * RENDERING_BYTES


@given(sizes, st.integers(1, 48))
def test_an_osd_gets_between_one_and_eight_gibibytes(memory: str, devices: int) -> None:
    assert 1 << 30 <= osd_memory_bytes(memory, devices) <= 8 << 30


def test_an_osd_of_no_device_is_refused() -> None:
    with pytest.raises(SizingError):
        osd_memory_bytes("4Gi", 0)


def test_bytes_are_shown_in_the_largest_unit() -> None:
    assert format_bytes(size_bytes("1536Mi")) == "1.5Gi"
    assert format_bytes(12) == "12 bytes"
