"""The internet of the local stack: a namespace with a relay that has delay, rate and cut.

Each host has one link into the namespace `pacs-internet`; the namespace forwards nothing, so nothing
can reach a branch. A relay in it listens on the centre's public address and carries bytes to the
centre's gateway, late and slowly where it was told so. A cut line is a drop rule in the namespace:
packets vanish in both directions, and connections live or die by their own timers, as in the field.

Run by `start()`: `python -m infra.hosts.internet <state directory> <listen> <centre>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.hosts import daemon
from infra.hosts.base import HostError
from infra.hosts.command import run
from infra.hosts.network import INTERNET, make_namespace

_CHUNK = 64 << 10
_TABLE = """
table inet pacs {
  set cut { type ipv4_addr; }
  chain input  { type filter hook input priority 0; ip saddr @cut drop; }
  chain output { type filter hook output priority 0; ip daddr @cut drop; }
}
"""


@dataclass(frozen=True)
class Line:
    """How the line of one branch is: one-way delay, rate in both directions (None: no limit), cut."""

    delay_ms: float = 0
    rate_mbit: float | None = None
    cut: bool = False


def start(state: Path, public: str, centre: str) -> None:
    """Run the relay from `public` (address:port) to `centre`; one that runs already stays."""
    make_namespace(INTERNET)
    address = public.rsplit(":", 1)[0]
    run("ip", "-n", INTERNET, "address", "replace", f"{address}/32", "dev", "lo")
    home = state / "internet"
    home.mkdir(parents=True, exist_ok=True)
    if "table inet pacs" not in run("ip", "netns", "exec", INTERNET, "nft", "list", "tables"):
        (home / "cut.nft").write_text(_TABLE)
        run("ip", "netns", "exec", INTERNET, "nft", "--file", str(home / "cut.nft"))
    if daemon.holder(_lock(home)) is not None:
        return
    daemon.start(
        "infra.hosts.internet",
        [str(home), public, centre],
        lock=_lock(home),
        log=home / "relay.log",
        within=("ip", "netns", "exec", INTERNET),
    )
    for _ in range(100):
        if f"{public} " in run("ip", "netns", "exec", INTERNET, "ss", "-Hltn"):
            return
        time.sleep(0.1)
    raise HostError(f"the relay does not listen on {public}; see {home / 'relay.log'}")


def stop(state: Path) -> None:
    """End the relay."""
    pid = daemon.holder(_lock(state / "internet"))
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def is_running(state: Path) -> bool:
    """Whether the relay runs."""
    return daemon.holder(_lock(state / "internet")) is not None


def shape(state: Path, branch: str, line: Line) -> None:
    """Give the branch with wide-area address `branch` this line from now on."""
    home = state / "internet"
    lines = _lines(home)
    lines[branch] = line
    partial = home / "lines.part"
    partial.write_text(json.dumps({address: asdict(entry) for address, entry in lines.items()}))
    partial.rename(home / "lines.json")
    verb = "add" if line.cut else "delete"
    element = f"{{ {branch} }}"
    run(
        "ip",
        "netns",
        "exec",
        INTERNET,
        "nft",
        verb,
        "element",
        "inet",
        "pacs",
        "cut",
        element,
        check=line.cut,
    )


def _lock(home: Path) -> Path:
    return home / "relay.lock"


def _lines(home: Path) -> dict[str, Line]:
    path = home / "lines.json"
    return (
        {key: Line(**value) for key, value in json.loads(path.read_text()).items()} if path.exists() else {}
    )


class Relay:
    """Carries each connection to the centre and back, as the branch's line allows."""

    def __init__(self, home: Path, centre: tuple[str, int]) -> None:
        self.home, self.centre = home, centre
        self._read: tuple[int, dict[str, Line]] = (0, {})
        self._free: dict[tuple[str, str], float] = {}  # when the line has sent what it was given

    def line(self, branch: str) -> Line:
        """The branch's line as it is now; a change holds for open connections too."""
        with contextlib.suppress(FileNotFoundError):
            stamp = (self.home / "lines.json").stat().st_mtime_ns
            if stamp != self._read[0]:
                self._read = (stamp, _lines(self.home))
        return self._read[1].get(branch, Line())

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until both directions are done."""
        branch = writer.get_extra_info("peername")[0]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.centre)
        except OSError:
            writer.close()
            return
        try:
            with contextlib.suppress(OSError):  # one side is gone: so is the connection
                await asyncio.gather(
                    self._pump(branch, "up", reader, far_writer),
                    self._pump(branch, "down", far_reader, writer),
                )
        finally:
            writer.close()
            far_writer.close()

    async def _pump(
        self, branch: str, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One direction: bytes leave when the line's rate lets them, and arrive one delay later."""
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)

        async def deliver() -> None:
            while True:
                due, chunk = await arriving.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()

        async def send() -> None:
            chunk = b"-"
            while chunk:
                chunk = await reader.read(_CHUNK)
                line = self.line(branch)
                now = time.monotonic()
                if line.rate_mbit:
                    begin = max(now, self._free.get((branch, way), 0.0))
                    sent = begin + len(chunk) * 8 / (line.rate_mbit * 1e6)
                    self._free[branch, way] = sent
                    await asyncio.sleep(max(0.0, sent - now))
                    now = sent
                await arriving.put((now + line.delay_ms / 1000, chunk))

        await asyncio.gather(send(), deliver())


async def serve(home: Path, public: str, centre: str) -> None:
    """Listen on `public` until the process is ended."""
    address, port = public.rsplit(":", 1)
    far, far_port = centre.rsplit(":", 1)
    daemon.hold(_lock(home))
    relay = Relay(home, (far, int(far_port)))
    server = await asyncio.start_server(relay.connection, address, int(port), limit=_CHUNK)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
