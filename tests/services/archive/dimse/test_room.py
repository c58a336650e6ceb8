"""Rules of the room for messages: bounded, and never a standstill."""

from __future__ import annotations

import threading

import pytest

from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.room import Room
from services.packs.arrival import HELD_BYTES

WAIT = 10.0


def test_who_finds_no_room_waits_until_there_is_some() -> None:
    room, taken = Room(100), threading.Event()
    room.take("large", 90, WAIT)

    def take() -> None:
        room.take("small", 20, WAIT)
        taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    assert not taken.wait(0.05)
    room.give("large", 10)
    assert taken.wait(WAIT)
    thread.join()
    assert room.held == 100


def test_who_waits_too_long_is_cut_off() -> None:
    room = Room(100)
    room.take("large", 90, WAIT)
    with pytest.raises(OSError, match="no memory for 20 bytes"):
        room.take("small", 20, 0.01)
    assert room.held == 90


def test_two_half_messages_never_wait_for_each_other() -> None:
    room = Room(100)
    room.take("a", 60, WAIT)
    room.take("b", 40, WAIT)
    room.take("a", 60, 0)
    with pytest.raises(OSError, match="no memory"):
        room.take("b", 1, 0)
    room.give("a")
    room.take("b", 60, 0)
    assert room.held == 100


@pytest.mark.parametrize("memory", [512 << 20, 1 << 30, 8 << 30, 64 << 30])
def test_all_messages_together_leave_the_process_what_it_needs_itself(memory: int) -> None:
    limits = ConnectionLimits.within(memory)
    assert 0 < limits.max_other_message <= limits.messages
    waiting = limits.messages + limits.max_other_message
    # Twice what waits: a message that is served is there decoded too.
    assert 2 * waiting + limits.associations * (HELD_BYTES // 4) <= memory - (384 << 20)
