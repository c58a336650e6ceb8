"""What a row may ask of whoever it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from bench.errors import CannotError

CALLING_AE = "MODALITY"


@dataclass(frozen=True)
class DimseAddress:
    """Where a Storage SCP listens on loopback, and as whom."""

    port: int
    ae_title: str


@dataclass(frozen=True)
class WebAddress:
    """Where HTTP is spoken, on loopback whatever the name in `base`; DICOMweb's `base` ends before `/studies`."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None

    @property
    def port(self) -> int:
        return urlsplit(self.base).port or (443 if self.base.startswith("https:") else 80)

    @property
    def path(self) -> str:
        return urlsplit(self.base).path

    @property
    def name(self) -> str:
        """The host's name: what a certificate must show."""
        return urlsplit(self.base).hostname or ""


class Server(Protocol):
    """A process that a subject has started."""

    @property
    def pid(self) -> int: ...

    def stop(self) -> object: ...


class Servers:
    """The processes of a subject, as far as it got with starting them."""

    def __init__(self) -> None:
        self._running: list[Server] = []

    def stop(self) -> None:
        """End them, the last started first."""
        while self._running:
            self._running.pop().stop()

    def roots(self) -> Sequence[int]:
        return [server.pid for server in self._running]


class Subject(Protocol):
    """One archive or receiver. `start` may take a while; `stop` leaves no process."""

    name: str

    def start(self, directory: Path) -> None: ...

    def stop(self) -> None: ...

    def roots(self) -> Sequence[int]:
        """The processes that, with all that descends from them, are this subject."""

    def dimse(self) -> DimseAddress: ...

    def web(self) -> WebAddress: ...

    def destination(self) -> int:
        """The port on loopback where it sends what `CALLING_AE` asks it to move there."""

    def configuration(self) -> str:
        """In one line, what of it is set, for the report."""


class WebOnly:
    """Of what serves bytes over HTTP and knows no DICOM."""

    name = ""

    def dimse(self) -> DimseAddress:
        raise CannotError(f"{self.name} speaks no DIMSE")

    def destination(self) -> int:
        raise CannotError(f"{self.name} speaks no DIMSE")


class DimseOnly:
    """Of a receiver: there is nothing to search."""

    name = ""

    def web(self) -> WebAddress:
        raise CannotError(f"{self.name} receives over DIMSE and serves nothing over HTTP")

    def destination(self) -> int:
        raise CannotError(f"{self.name} only receives")
