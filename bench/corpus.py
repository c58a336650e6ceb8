"""Seeded CT files for a run, fast: a few phantoms are encoded once, then only identifiers change.

Every file has UIDs of its own, so that no archive may skip it as a copy. The pixels are the load tests'
phantom with the noise of a real acquisition (`load_tests/data/synthetic.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID, uuid5

from pydicom import dcmwrite

from load_tests.data.synthetic import CtStudy, RunUids

_PHANTOMS = 4
_LOWEST = (
    10**38
)  # numbers from here to 2**128 have 39 digits: all our UIDs have the same length, and it is even
_PATIENT = b"P0000000"
_PLACES = ("1", "2", "3")  # of the study, the series and the instance


def uid(seed: int, *label: object) -> str:
    """A UID of 44 characters (`2.25.` and a number, PS3.5 B.2); the same for the same label."""
    number = uuid5(UUID(int=seed), "/".join(map(str, label))).int
    return f"2.25.{_LOWEST + number % (2**128 - _LOWEST)}"


def _place(digit: str) -> bytes:
    return f"2.25.{digit * 39}".encode()


@dataclass(frozen=True)
class Batch:
    """`count` slices of one series that no other batch has; `label` tells repeats and subjects apart."""

    label: str
    count: int
    patient: int = 0
    date: str = "20260101"

    def study(self, seed: int) -> str:
        return uid(seed, self.label, "study")

    def series(self, seed: int) -> str:
        return uid(seed, self.label, "series")

    def instance(self, seed: int, index: int) -> str:
        return uid(seed, self.label, index)


@dataclass(frozen=True)
class Corpus:
    """Files of one seed; `matrix` 512 gives the 512 KiB of pixels of an ordinary CT slice."""

    seed: int = 1
    matrix: int = 512

    @property
    def pixel_bytes(self) -> int:
        """How many bytes the pixels of a slice have."""
        return self.matrix * self.matrix * 2

    @cached_property
    def _phantoms(self) -> list[bytes]:
        found = []
        for index in range(_PHANTOMS):
            ds = CtStudy(RunUids(UUID(int=self.seed)), self.seed, _PHANTOMS, self.matrix).slice(index)
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (
                _place(p).decode() for p in _PLACES
            )
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.FrameOfReferenceUID = _place("1").decode()
            ds.InstanceNumber = "10000"
            ds.PatientID = _PATIENT.decode()
            stream = io.BytesIO()
            dcmwrite(stream, ds, enforce_file_format=True)
            found.append(stream.getvalue())
        return found

    def file(self, batch: Batch, index: int) -> bytes:
        """Part 10 bytes of one slice."""
        phantom = self._phantoms[index % _PHANTOMS]
        # Identifiers stand before the pixels, where noise could look like one.
        head, pixels = phantom[:4096], phantom[4096:]
        for place, value in zip(
            _PLACES,
            (batch.study(self.seed), batch.series(self.seed), batch.instance(self.seed, index)),
            strict=True,
        ):
            head = head.replace(_place(place), value.encode())
        head = head.replace(_PATIENT, f"P{batch.patient:07d}".encode()).replace(
            b"20260101", batch.date.encode()
        )
        head = head.replace(b"IS\x06\x0010000 ", b"IS\x06\x00" + f"{10000 + index}".ljust(6).encode())
        return head + pixels

    def files(self, batch: Batch) -> Iterator[bytes]:
        return (self.file(batch, index) for index in range(batch.count))

    def write(self, batch: Batch, directory: Path) -> int:
        """One file a slice below `directory`, which is made; how many bytes they have together."""
        directory.mkdir(parents=True)
        size = 0
        for index in range(batch.count):
            size += (directory / f"{index:06d}.dcm").write_bytes(self.file(batch, index))
        return size
