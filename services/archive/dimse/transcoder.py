"""Another transfer syntax for a stored instance, where a peer does not take the one that it is stored in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from threading import BoundedSemaphore
from typing import Protocol

from pydicom.filebase import DicomBytesIO
from pydicom.filereader import dcmread
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from services.archive.index.records import StoredInstance

WORK_BYTES = 64 << 20
_NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class TranscodeError(Exception):
    """An instance cannot be given in a transfer syntax; the message says why."""


class Transcoder(Protocol):
    """Writes a stored instance's data set in another transfer syntax, losing nothing of it."""

    def targets(self, stored: StoredInstance) -> Sequence[str]:
        """The transfer syntaxes that it can be given in beside its own, best first."""

    def transcode(self, stored: StoredInstance, load: Callable[[], bytes], target: str) -> bytes:
        """The encoded data set in `target`, one of `targets`; `load` brings the Part 10 bytes.

        Raises `TranscodeError`.
        """


class NativeTranscoder:
    """Between the uncompressed little endian syntaxes, deflated ones included: no pixel is touched.

    Works in memory, on one instance of up to `WORK_BYTES` at a time and two in all.
    """

    def __init__(self) -> None:
        self._room = BoundedSemaphore(2)

    def targets(self, stored: StoredInstance) -> Sequence[str]:
        if stored.transfer_syntax not in (*_NATIVE, str(DeflatedExplicitVRLittleEndian)):
            return ()
        if stored.length > WORK_BYTES:
            return ()
        return [one for one in _NATIVE if one != stored.transfer_syntax]

    def transcode(self, stored: StoredInstance, load: Callable[[], bytes], target: str) -> bytes:
        with self._room:
            content = load()
            try:
                data_set = dcmread(BytesIO(content), force=True)
                written = DicomBytesIO()
                written.is_implicit_VR = UID(target).is_implicit_VR
                written.is_little_endian = True
                data_set.file_meta.TransferSyntaxUID = UID(target)
                write_dataset(written, data_set)
            except Exception as error:
                raise TranscodeError(f"it cannot be written in {UID(target).name}") from error
            return written.getvalue()
