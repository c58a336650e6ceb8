"""The relay that plays the internet: bytes arrive whole, and late and slowly when it was told so."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path

from infra.hosts.internet import Line, Relay

PAYLOAD = bytes(range(256)) * 1024


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def _through(home: Path, payload: bytes) -> tuple[bytes, float]:
    """Send `payload` through a relay to an echo server; what came back, and the seconds it took."""
    centre = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = centre.sockets[0].getsockname()[1]
    relay = await asyncio.start_server(Relay(home, ("127.0.0.1", port)).connection, "127.0.0.1", 0)
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.sockets[0].getsockname()[1])
    writer.write(payload)
    writer.write_eof()
    answer = await reader.read(-1)
    seconds = time.monotonic() - begun
    writer.close()
    centre.close()
    relay.close()
    return answer, seconds


def _write(home: Path, line: Line) -> None:
    (home / "lines.json").write_text(json.dumps({"127.0.0.1": asdict(line)}))


def test_every_byte_arrives_in_order(tmp_path: Path) -> None:
    answer, _ = asyncio.run(_through(tmp_path, PAYLOAD))
    assert answer == PAYLOAD


def test_delay_is_added_in_each_direction(tmp_path: Path) -> None:
    _write(tmp_path, Line(delay_ms=150))
    answer, seconds = asyncio.run(_through(tmp_path, b"x"))
    assert answer == b"x"
    assert seconds >= 0.3


def test_the_rate_bounds_each_direction(tmp_path: Path) -> None:
    _write(tmp_path, Line(rate_mbit=8))
    answer, seconds = asyncio.run(_through(tmp_path, PAYLOAD))
    assert answer == PAYLOAD
    assert seconds >= len(PAYLOAD) / 1e6  # 8 Mbit/s is 1 MB/s


def test_a_centre_that_is_away_closes_the_branch_connection(tmp_path: Path) -> None:
    async def run() -> bytes:
        relay = await asyncio.start_server(Relay(tmp_path, ("127.0.0.1", 1)).connection, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.sockets[0].getsockname()[1])
        answer = await reader.read(-1)
        writer.close()
        relay.close()
        return answer

    assert asyncio.run(run()) == b""
