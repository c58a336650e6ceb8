from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.layout.pools import Pool, PoolError, check_pool

pools = st.builds(Pool, st.integers(1, 16), st.integers(1, 4))


@given(pools, st.integers(0, 24), st.integers(0, 96))
def test_a_pool_is_taken_only_if_each_chunk_has_a_place_of_its_own(
    pool: Pool, nodes: int, devices: int
) -> None:
    for domain, places in (("host", nodes), ("osd", devices)):
        one_may_fail = nodes < 2 or pool.coding >= 2
        if pool.width <= places and one_may_fail:
            check_pool("data_pool", pool, domain, nodes=nodes, devices=devices)  # type: ignore[arg-type]
        else:
            with pytest.raises(PoolError, match="allowed"):
                check_pool("data_pool", pool, domain, nodes=nodes, devices=devices)  # type: ignore[arg-type]


@given(pools, st.integers(1 << 30, 1 << 50))
def test_a_pool_never_holds_more_than_its_share_of_the_devices(pool: Pool, raw: int) -> None:
    assert pool.usable(raw) <= raw * pool.data / pool.width


def test_three_copies_use_a_third_and_two_plus_one_two_thirds() -> None:
    assert Pool.replicated(3).usable(300) == 85
    assert Pool(2, 1).usable(300) == 170


def test_erasure_coding_that_survives_nothing_is_refused() -> None:
    with pytest.raises(PoolError, match="losing one disk"):
        check_pool("data_pool", Pool(4, 0), "osd", nodes=4, devices=4)


def test_among_several_nodes_writing_goes_on_without_one_of_them() -> None:
    for pool in (Pool.replicated(3), Pool(4, 2)):
        check_pool("data_pool", pool, "host", nodes=6, devices=6)
    for pool in (Pool.replicated(1), Pool.replicated(2), Pool(2, 1)):
        with pytest.raises(PoolError, match="takes no write while one"):
            check_pool("data_pool", pool, "host", nodes=3, devices=18)


def test_one_node_may_have_a_single_copy() -> None:
    check_pool("data_pool", Pool.replicated(1), "osd", nodes=1, devices=2)


def test_no_write_is_taken_by_the_last_copy_that_could_be_read() -> None:
    assert [Pool.replicated(size).needed for size in (1, 2, 3)] == [1, 2, 2]
    assert [Pool(2, 1).needed, Pool(4, 2).needed] == [3, 5]
