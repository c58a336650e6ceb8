"""The reactor of an association that we ask for keeps away from the answers."""

from __future__ import annotations

import threading
from time import monotonic

from services.common.requestor import _Checkpoint


def test_the_reactor_takes_nothing_between_clear_and_set() -> None:
    checkpoint, ended = _Checkpoint(), threading.Event()
    rounds: list[None] = []

    def reactor() -> None:
        while not ended.is_set():
            checkpoint.wait()
            rounds.append(None)

    thread = threading.Thread(target=reactor)
    thread.start()
    try:
        for _ in range(2000):
            checkpoint.clear()
            taken = len(rounds)
            threading.Event().wait(0)  # give the reactor its chance
            assert len(rounds) == taken
            checkpoint.set()
    finally:
        ended.set()
        checkpoint.set()
        thread.join()
    assert rounds


def test_a_reactor_that_has_ended_does_not_hold_the_request_up_for_long() -> None:
    checkpoint, began = _Checkpoint(), monotonic()
    checkpoint.clear()
    assert not checkpoint.is_set()
    assert monotonic() - began < 10
