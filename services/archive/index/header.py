"""From the bytes of an instance to its rows: one pass over the header, at commit, never at read time.

An instance that was acknowledged is indexed even if its header cannot be decoded: it then has a
minimal DICOM JSON made of what the pack's footer says, and `readable` tells so.
"""

import io
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.index.dicom_json import BINARY, JsonObject, dumps, encode
from services.archive.index.element_memory import ElementMemory
from services.archive.index.names import key_text, search_name
from services.archive.index.query import pad_time
from services.archive.index.records import SeriesRecord, StudyRecord

DEFER_BYTES = 64 << 10
REMEMBERED_BYTES = 256 << 10
INFLATED_BYTES = 128 << 20
_PIXEL_DATA = "7FE00010"
_log = logging.getLogger(__name__)

# What a study is described by (PS3.18 table 10.6.3-3, and what clients ask by includefield).
STUDY_TAGS = (
    "00080005", "00080020", "00080030", "00080050", "00080051", "00080090", "00080201", "00081030", "00081032",
    "00081048", "00081060", "00081080", "00100010", "00100020", "00100021", "00100030", "00100032", "00100040",
    "00101000", "00101010", "00101020", "00101030", "00102160", "0020000D", "00200010",
)  # fmt: skip
# ... and a series (PS3.18 table 10.6.3-4).
SERIES_TAGS = (
    "00080021", "00080031", "00080060", "00080064", "00080070", "00080080", "00081010", "0008103E", "00081040",
    "00081050", "00081070", "00081090", "00180015", "00181000", "00181030", "00185100", "0020000E", "00200011",
    "00200052", "00200060", "00400244", "00400245", "00400253", "00400254", "00400275",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identifiers:
    """What the footer says of an instance; the JSON never contradicts it.

    `header_length` bytes come before the value of its pixel data; all of it, where there is none.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    data_offset: int
    header_length: int
    has_pixels: bool
    pixel_vr: str

    def bulk_uri(self, path: str) -> str:
        """Where the bulk data at an attribute path is served (section 10 of the contracts)."""
        return (
            f"/dicom-web/studies/{self.study_uid}/series/{self.series_uid}"
            f"/instances/{self.sop_instance_uid}/bulkdata/{path}"
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The decoded header of one instance."""

    attributes: JsonObject
    readable: bool

    @property
    def instance_number(self) -> int | None:
        return _integer(self.attributes, "00200013")

    def dicom_json(self) -> bytes:
        return dumps(self.attributes)


def new_memory() -> ElementMemory:
    """What the headers of one pack are read with."""
    return ElementMemory(read_data_set)


def read_header(source: BinaryIO, identifiers: Identifiers, memory: ElementMemory | None = None) -> Header:
    """Decode the header of the Part 10 instance that starts at `source`'s beginning.

    `source` must be seekable and end with the instance. `memory` makes it quick where such headers were read before.
    Never raises for what the bytes hold.
    """
    readable = True
    try:
        attributes = _attributes(source, identifiers, memory)
    except (Exception, RecursionError):
        # Deliberately without the error's text: pydicom quotes values in it.
        _log.warning("header cannot be decoded", extra={"sop_instance_uid": identifiers.sop_instance_uid})
        attributes, readable = {}, False
    attributes.update(
        {
            "00080016": {"vr": "UI", "Value": [identifiers.sop_class_uid]},
            "00080018": {"vr": "UI", "Value": [identifiers.sop_instance_uid]},
            "0020000D": {"vr": "UI", "Value": [identifiers.study_uid]},
            "0020000E": {"vr": "UI", "Value": [identifiers.series_uid]},
        }
    )
    if identifiers.has_pixels and _PIXEL_DATA not in attributes:
        link = identifiers.bulk_uri(_PIXEL_DATA)
        attributes[_PIXEL_DATA] = {"vr": identifiers.pixel_vr, "BulkDataURI": link}
    # Available Transfer Syntax UID: what `transfer-syntax=*` will bring, known before it is fetched.
    attributes["00083002"] = {"vr": "UI", "Value": [identifiers.transfer_syntax]}
    return Header(dict(sorted(attributes.items())), readable)


def _attributes(source: BinaryIO, identifiers: Identifiers, memory: ElementMemory | None) -> JsonObject:
    if memory is not None and identifiers.header_length <= REMEMBERED_BYTES:
        found = memory.attributes(
            source.read(identifiers.header_length),
            identifiers.transfer_syntax,
            identifiers.data_offset,
            identifiers.bulk_uri,
        )
        if found is not None:
            return found
    data_set = read_data_set(source, identifiers.transfer_syntax, identifiers.data_offset)
    return encode(data_set, identifiers.bulk_uri)


def study_record(header: Header, study_uid: str) -> StudyRecord:
    """The study level of a header."""
    a = header.attributes
    return StudyRecord(
        study_uid=study_uid,
        patient_id=_text(a, "00100020"),
        issuer=_text(a, "00100021"),
        patient_name=search_name(_first(a, "00100010") or {}),
        birth_date=_date(a, "00100030"),
        sex=_text(a, "00100040"),
        study_date=_date(a, "00080020"),
        study_time=_time(a, "00080030"),
        accession_number=_text(a, "00080050"),
        study_id=_text(a, "00200010"),
        description=_text(a, "00081030"),
        referring=search_name(_first(a, "00080090") or {}),
        attributes=dumps({tag: a[tag] for tag in STUDY_TAGS if tag in a}),
    )


def series_record(header: Header, series_uid: str) -> SeriesRecord:
    """The series level of a header."""
    a = header.attributes
    requests = [item for item in a.get("00400275", {}).get("Value", ()) if isinstance(item, Mapping)]
    return SeriesRecord(
        series_uid=series_uid,
        modality=_text(a, "00080060"),
        number=_integer(a, "00200011"),
        description=_text(a, "0008103E"),
        performed_date=_date(a, "00400244"),
        performed_time=_time(a, "00400245"),
        requested_procedures=tuple(filter(None, (_text(item, "00401001") for item in requests))),
        scheduled_steps=tuple(filter(None, (_text(item, "00400009") for item in requests))),
        attributes=dumps({tag: a[tag] for tag in SERIES_TAGS if tag in a}),
    )


def read_data_set(source: BinaryIO, transfer_syntax: str, data_offset: int) -> Dataset:
    """The data set of a Part 10 instance up to its pixel data.

    Large binary values stay deferred: a `RawDataElement` without a value whose `value_tell` counts from
    the start of the instance. A deflated instance has none, since its bytes cannot be addressed.
    """
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        source.seek(data_offset)
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(source.read(), INFLATED_BYTES)
        source = io.BytesIO(inflated)
        data_set = read_dataset(
            source, is_implicit_VR=False, is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag >= 0x7FE0_0000,
        )  # fmt: skip
    else:
        source.seek(0)
        data_set = dcmread(source, stop_before_pixels=True, defer_size=DEFER_BYTES)
    for tag in list(data_set.keys()):
        raw = data_set.get_item(tag, keep_deferred=True)
        if not isinstance(raw, RawDataElement) or raw.value is not None or raw.length == 0:
            continue
        if (raw.VR or _vr_of(tag)) not in BINARY:
            source.seek(raw.value_tell)
            data_set[tag] = raw._replace(value=source.read(raw.length))
    return data_set


def _vr_of(tag: Any) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _first(attributes: Mapping[str, Any], tag: str) -> Any:
    values = attributes.get(tag, {}).get("Value") or [None]
    return values[0]


def _text(attributes: Mapping[str, Any], tag: str) -> str:
    value = _first(attributes, tag)
    return "" if value is None else key_text(str(value))


def _date(attributes: Mapping[str, Any], tag: str) -> str:
    return _text(attributes, tag).replace(".", "")[:8]  # ACR-NEMA wrote yyyy.mm.dd (PS3.5 6.2, note to DA)


def _time(attributes: Mapping[str, Any], tag: str) -> str:
    value = _text(attributes, tag).replace(":", "")
    return pad_time(value) if value else ""


def _integer(attributes: Mapping[str, Any], tag: str) -> int | None:
    value = _first(attributes, tag)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        return None
    return value
