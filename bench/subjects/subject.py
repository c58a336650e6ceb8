"""What a row may ask of whoever it measures."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from bench.errors import CannotError

CALLING_AE = "MODALITY"
COUNT = "00201208"
"""Number of Study Related Instances."""


@dataclass(frozen=True)
class DimseAddress:
    """Where a Storage SCP listens on loopback, and as whom."""

    port: int
    ae_title: str


@dataclass(frozen=True)
class WebAddress:
    """Where DICOMweb is spoken: `base` ends before `/studies`."""

    base: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def count(self, study: str) -> int:
        """How many instances of `study` a search finds."""
        answer = httpx.get(
            f"{self.base}/studies",
            params={"StudyInstanceUID": study, "includefield": COUNT},
            headers={"Accept": "application/dicom+json", **self.headers},
            timeout=60,
            trust_env=False,
        )
        answer.raise_for_status()
        found = answer.json() if answer.content else []
        return int(found[0][COUNT]["Value"][0]) if found else 0


class Subject(Protocol):
    """One archive or receiver. `start` may take a while; `stop` leaves no process."""

    name: str

    def start(self, directory: Path) -> None: ...

    def stop(self) -> None: ...

    def roots(self) -> Sequence[int]:
        """The processes that, with all that descends from them, are this subject."""

    def dimse(self) -> DimseAddress: ...

    def web(self) -> WebAddress: ...

    def configuration(self) -> str:
        """In one line, what of it is set, for the report."""


class DimseOnly:
    """Of a receiver: there is nothing to search."""

    name = ""

    def web(self) -> WebAddress:
        raise CannotError(f"{self.name} receives over DIMSE and serves nothing over HTTP")


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts on a loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
