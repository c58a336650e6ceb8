"""A data set as DICOM JSON (PS3.18 Annex F), made once when an instance is committed.

Text comes out as Unicode whatever the Specific Character Set was, and (0008,0005) then says
`ISO_IR 192`, since the JSON is UTF-8. Pixel data and binary values over `INLINE_BYTES` become a
BulkDataURI: an absolute path (RFC 3986 4.2), so that the stored bytes hold at every host name.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydicom import charset, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

# What was stored is described, not judged: an odd value must neither raise nor be warned about with its text.
config.settings.reading_validation_mode = config.IGNORE
# Python's ISO 2022 codec for GB 2312 does not know `ESC $ ) A` (PS3.3 C.12.1.1.2), though pydicom believes that
# it handles the escapes itself: left in that list, they would stand in the decoded names.
charset.handled_encodings = tuple(  # type: ignore[assignment]
    name for name in charset.handled_encodings if name != "iso_ir_58"
)

INLINE_BYTES = 1024
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
PIXEL_TAGS = frozenset({0x7FE0_0008, 0x7FE0_0009, 0x7FE0_0010})
_CHARACTER_SET = 0x0008_0005
_UTF8 = "ISO_IR 192"
_INTEGER = re.compile(r"[+-]?\d+")

JsonObject = dict[str, Any]
BulkUri = Callable[[str], str]
"""Makes a URI of a path such as `7FE00010` or `54000100/0/54001010`."""


def encode(data_set: Dataset, bulk_uri: BulkUri) -> JsonObject:
    """The DICOM JSON object of a data set, its attributes in ascending order (PS3.18 F.2.2).

    Group lengths and file meta information are left out (PS3.18 F.2.2). An attribute that cannot be
    decoded is given without a value: its bytes stay in the instance.
    """
    return dict(_attributes(data_set, bulk_uri, prefix=""))


def dumps(value: JsonObject) -> bytes:
    """The bytes that are stored and sent: UTF-8, no spaces, no NaN (RFC 8259)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        "utf-8", "replace"
    )


def _attributes(data_set: Dataset, bulk_uri: BulkUri, prefix: str) -> Iterator[tuple[str, JsonObject]]:
    for tag in sorted(data_set.keys()):
        if tag.element == 0 or tag.group == 2:
            continue
        name = f"{int(tag):08X}"
        yield name, _attribute(data_set, tag, bulk_uri, prefix + name)


def _attribute(data_set: Dataset, tag: BaseTag, bulk_uri: BulkUri, path: str) -> JsonObject:
    raw = data_set.get_item(tag, keep_deferred=True)
    if isinstance(raw, RawDataElement) and _is_large(raw):
        return {"vr": raw.VR or _dictionary_vr(tag), "BulkDataURI": bulk_uri(path)}
    try:
        element = data_set[tag]
        return _encode(element, bulk_uri, path)
    except RecursionError:
        raise
    except Exception:
        vr = raw.VR if raw is not None and isinstance(raw.VR, str) and len(raw.VR) == 2 else "UN"
        return {"vr": vr}


def _is_large(raw: RawDataElement) -> bool:
    """Whether to link a value that is still raw: cheap to tell, and its bytes need not be read."""
    vr = raw.VR or _dictionary_vr(raw.tag)
    return int(raw.tag) in PIXEL_TAGS or (vr in BINARY and raw.length > INLINE_BYTES)


def _dictionary_vr(tag: BaseTag) -> str:
    try:
        return str(dictionary_VR(tag))[:2]
    except KeyError:
        return "UN"


def _encode(element: DataElement, bulk_uri: BulkUri, path: str) -> JsonObject:
    vr, value = element.VR, element.value
    if vr == "SQ":
        items = [dict(_attributes(item, bulk_uri, f"{path}/{n}/")) for n, item in enumerate(value or ())]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if int(element.tag) == _CHARACTER_SET:
        return {"vr": "CS", "Value": [_UTF8]}
    if vr in BINARY or isinstance(value, bytes):
        return _binary(vr[:2], value, bulk_uri, path)
    values = [_value(vr, one) for one in _each(value)]
    while values and values[-1] is None and len(values) == 1:
        values.pop()
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _binary(vr: str, value: Any, bulk_uri: BulkUri, path: str) -> JsonObject:
    if not value:
        return {"vr": vr}
    content = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    if len(content) > INLINE_BYTES:
        return {"vr": vr, "BulkDataURI": bulk_uri(path)}
    return {"vr": vr, "InlineBinary": base64.b64encode(content).decode("ascii")}


def _each(value: Any) -> Iterable[Any]:
    if value is None or (isinstance(value, str) and value == ""):
        return ()
    return value if isinstance(value, MultiValue | list | tuple) else (value,)


def _value(vr: str, value: Any) -> Any:
    """One value in its JSON form (PS3.18 table F.2.3-1); null for an empty one among several (F.2.5)."""
    if vr == "PN":
        return _person(value)
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in NUMBERS:
        return _number(value)
    text = str(value)
    return text if text else None


def _person(value: Any) -> JsonObject | None:
    name = value if isinstance(value, PersonName) else PersonName(str(value))
    groups = {"Alphabetic": name.alphabetic, "Ideographic": name.ideographic, "Phonetic": name.phonetic}
    return {group: text for group, text in groups.items() if text} or None


def _number(value: Any) -> int | float | str | None:
    """A JSON number where the value is one; F.2.3 lets IS, DS, SV and UV be strings where a number loses."""
    if isinstance(value, int):
        return int(value)
    text = str(value).strip()
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(value)
    return number if math.isfinite(number) else None
