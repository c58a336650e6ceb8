"""A port that is taken is told with its number, the reason, and how to find who has it."""

from __future__ import annotations

import errno

import pytest

from services.common.listening import listen


def test_a_taken_port_is_told_with_what_has_it_and_what_to_do() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use"
        ) as told:
            listen("127.0.0.1", port)
    assert told.value.errno == errno.EADDRINUSE
    assert f"ss -ltnp sport = :{port}" in str(told.value)
    assert "set another port" in str(told.value)


def test_an_address_that_this_host_lacks_is_told_too() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192.0.2.1:1: Cannot assign requested address"):
        listen("192.0.2.1", 1)
