"""Programs that receive and write files, and keep no index: DCMTK's storescp and stock pynetdicom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.network import free_port, listens
from bench.peers import Peers
from bench.processes import Program
from bench.subjects.subject import DimseAddress, DimseOnly, Servers
from toolchain.paths import REPOSITORY

_AE = "RECEIVER"


class _Receiver(DimseOnly, Servers):
    """One process that writes a file for each instance into `received`."""

    def __init__(self) -> None:
        super().__init__()
        self._port = free_port()

    def command(self, folder: Path, port: int) -> Sequence[str]:
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        return {}

    def start(self, directory: Path) -> None:
        folder = directory / "received"
        folder.mkdir()
        server = Program(
            self.command(folder, self._port),
            directory / "log",
            environment=self.variables(),
            directory=REPOSITORY,
            name=self.name,
        )
        self._running.append(server)
        server.wait_until(lambda: listens(self._port), "listen")

    def dimse(self) -> DimseAddress:
        return DimseAddress(self._port, _AE)


class Storescp(_Receiver):
    """DCMTK's storescp: one association after the other, files as received, no fsync."""

    name = "dcmtk"

    def __init__(self, peers: Peers) -> None:
        super().__init__()
        self._peers = peers

    def command(self, folder: Path, port: int) -> Sequence[str]:
        return self._peers.command(
            "storescp", "+B", "-pdu", "131072", "-aet", _AE, "-od", str(folder), str(port)
        )  # fmt: skip

    def variables(self) -> dict[str, str]:
        return dict(self._peers.environment)

    def configuration(self) -> str:
        return "storescp --bit-preserving --max-pdu 131072, TCP_NODELAY=1; files without fsync"


class StockPynetdicom(_Receiver):
    """pynetdicom's own server as its documentation shows it: decode nothing, write the file, no fsync."""

    name = "pynetdicom"

    def command(self, folder: Path, port: int) -> Sequence[str]:
        return [sys.executable, "-m", "bench.servers.stock_pynetdicom", _AE, str(port), str(folder)]

    def configuration(self) -> str:
        return "AE(); evt.EVT_C_STORE writes the encoded data set to a file; defaults otherwise; files without fsync"
