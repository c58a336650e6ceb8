"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bench import network
from bench.network import free_port


def test_a_port_is_none_that_an_outgoing_connection_could_take() -> None:
    lowest = int(network._EPHEMERAL.read_text().split()[0])
    assert all(15_000 <= free_port() < lowest for _ in range(50))


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", free_port())) as server:
        numbers = iter([server.getsockname()[1], free])
        monkeypatch.setattr(network.random, "SystemRandom", lambda: Chance(numbers))
        assert free_port() == free


class Chance:
    """Says these numbers, one after the other."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers

    def randrange(self, *_: int) -> int:
        return next(self._numbers)
