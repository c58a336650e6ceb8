"""Which pack goes next."""

from __future__ import annotations

from pathlib import Path

from services.edge.forwarder.outbox import Waiting
from services.edge.forwarder.queue import Queue


def waiting(*ages: float) -> list[Waiting]:
    return [Waiting(f"{int(age):064x}", Path(f"/{age}"), 10, age) for age in ages]


def filled(*ages: float) -> Queue:
    queue = Queue()
    queue.refresh(waiting(*ages))
    return queue


def test_oldest_and_newest_take_turns() -> None:
    queue = filled(1, 2, 3, 4)
    assert [pick.since for _ in range(4) if (pick := queue.take(0))] == [1, 4, 2, 3]
    assert queue.take(0) is None


def test_a_pack_under_way_is_not_taken_twice() -> None:
    queue = filled(1)
    assert queue.take(0)
    queue.refresh(waiting(1))
    assert queue.take(0) is None
    assert queue.under_way() == 1


def test_a_pack_that_was_put_back_waits_for_its_time() -> None:
    queue = filled(1)
    pick = queue.take(0)
    assert pick is not None
    queue.put_back(pick.pack_id, not_before=10)
    assert queue.take(9.9) is None
    assert queue.next_due() == 10
    assert queue.take(10) == pick


def test_a_pack_that_left_the_outbox_is_forgotten() -> None:
    queue = filled(1, 2)
    queue.put_back(waiting(1)[0].pack_id, not_before=10)
    queue.refresh(waiting(2))
    assert queue.next_due() is None
    assert queue.depth().packs == 1


def test_the_depth_counts_what_is_under_way() -> None:
    queue = filled(5, 6)
    queue.take(0)
    assert (queue.depth().packs, queue.depth().size, queue.depth().oldest) == (2, 20, 5)
    assert Queue().depth().oldest is None
