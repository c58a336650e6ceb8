"""What a pack means for the index: its footer, and the header of each of its instances."""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydicom.uid import ImplicitVRLittleEndian

from services.archive.index.element_memory import ElementMemory
from services.archive.index.header import (
    Header,
    Identifiers,
    new_memory,
    read_header,
    series_record,
    study_record,
)
from services.archive.index.names import key_text
from services.archive.index.records import InstanceRecord, PackContent, PackRecord, SeriesRecord, StudyRecord
from services.packs.pack import Footer, PackedInstance, PackError

ReadRange = Callable[[int, int], bytes]
"""`read(offset, length)` of a pack: a file's `pread`, or a range GET."""

_BUFFER = 64 << 10


class RangeFile(io.RawIOBase):
    """`length` bytes from `start` of something that is read by ranges, as a seekable file of its own."""

    name = ""  # pydicom asks every buffered file for one

    def __init__(self, read: ReadRange, start: int, length: int) -> None:
        super().__init__()
        self._read, self._start, self._length, self._position = read, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._length - self._position)
        if wanted <= 0:
            return 0
        piece = self._read(self._start + self._position, wanted)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def instance_file(read: ReadRange, offset: int, length: int) -> io.BufferedReader:
    """One instance of a pack as a buffered binary file that begins and ends with it."""
    return io.BufferedReader(RangeFile(read, offset, length), _BUFFER)


def content_of(
    footer: Footer, read: ReadRange, length: int, key_id: str | None = None
) -> tuple[PackContent, int]:
    """The rows that a pack of `length` bytes brings, and how many headers could not be decoded.

    `key_id` is of the data key that this store holds the pack under, whatever the footer says of its branch.

    Raises `PackError` when a time in the footer cannot be read.
    """
    series: dict[str, SeriesRecord] = {}
    instances: list[InstanceRecord] = []
    study: StudyRecord | None = None
    unreadable, memory = 0, new_memory()
    for entry in footer.instances:
        header = _header(footer, entry, read, memory)
        unreadable += not header.readable
        if study is None:
            study = study_record(header, footer.study_uid)
        if entry.series_uid not in series:
            series[entry.series_uid] = series_record(header, entry.series_uid)
        instances.append(_instance(entry, header))
    if study is None:
        raise PackError("the pack holds no instance")
    pack = PackRecord(
        pack_id=footer.pack_id,
        region=footer.region,
        institution=footer.institution,
        site=footer.site,
        study_uid=footer.study_uid,
        object_key=footer.key,
        length=length,
        sealed_at=_moment(footer.sealed_at),
        key_id=key_id,
    )
    return PackContent(pack, study, tuple(series.values()), tuple(instances)), unreadable


def _header(footer: Footer, entry: PackedInstance, read: ReadRange, memory: ElementMemory) -> Header:
    identifiers = Identifiers(
        study_uid=footer.study_uid,
        series_uid=entry.series_uid,
        sop_instance_uid=entry.sop_instance_uid,
        sop_class_uid=entry.sop_class_uid,
        transfer_syntax=entry.transfer_syntax,
        data_offset=entry.data_offset,
        header_length=entry.pixel_offset or entry.length,
        has_pixels=bool(entry.pixel_digest),
        pixel_vr=_pixel_vr(entry, read),
    )
    with instance_file(read, entry.offset, entry.length) as source:
        return read_header(source, identifiers, memory)


def _pixel_vr(entry: PackedInstance, read: ReadRange) -> str:
    """The VR of the pixel data: written before its length in explicit VR (PS3.5 7.1.2), else OW (A.1)."""
    if entry.transfer_syntax != ImplicitVRLittleEndian and entry.pixel_offset >= 8:
        written = read(entry.offset + entry.pixel_offset - 8, 2)
        if written in (b"OB", b"OW", b"OF", b"OD"):
            return written.decode("ascii")
    return "OW"


def _instance(entry: PackedInstance, header: Header) -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=entry.sop_instance_uid,
        sop_class_uid=entry.sop_class_uid,
        series_uid=entry.series_uid,
        number=header.instance_number,
        transfer_syntax=entry.transfer_syntax,
        offset=entry.offset,
        length=entry.length,
        data_offset=entry.data_offset,
        digest=entry.digest,
        pixel_digest=entry.pixel_digest,
        pixel_offset=entry.pixel_offset,
        pixel_length=entry.pixel_length,
        frames=entry.frames,
        received_at=_moment(entry.received_at),
        calling_ae=key_text(entry.calling_ae),
        called_ae=key_text(entry.called_ae),
        dicom_json=header.dicom_json(),
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PackError("a time in the pack's footer is not RFC 3339") from None
    if moment.tzinfo is None:
        raise PackError("a time in the pack's footer names no zone")
    return moment
