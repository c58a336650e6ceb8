"""Specific Character Set (0008,0005): what a requester can read, and text written in it (PS3.3 C.12.1.1.2, PS3.5 6.1.2).

An answer is written in the character set that its request names, as far as that can hold it; plain ASCII needs
none, and what does not fit goes out as `ISO_IR 192`, which says of itself what it is. Nothing is replaced by `?`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from services.archive.index import dicom_json  # noqa: F401 - it mends how pydicom reads ISO 2022 IR 58
from services.common.errors import BadRequest

Terms = tuple[str, ...]
"""The values of (0008,0005); none at all is the default repertoire, ASCII."""

DEFAULT: Terms = ()
UTF_8: Terms = ("ISO_IR 192",)
TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""The VRs that (0008,0005) speaks of (PS3.5 6.1.2.3)."""

# Whole encodings: they stand alone and know no escape sequences (PS3.3 table C.12-5).
_ALONE = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}
# Where the initial character set is active again (PS3.5 6.1.2.5.3); `^` and `=` count in names alone.
_DELIMITERS = frozenset("\\\r\n\f\t")
_NAME_DELIMITERS = _DELIMITERS | frozenset("^=")


@dataclass(frozen=True, slots=True)
class _Set:
    """One coded set: its codec, the escape sequence that designates it, and how its bytes look.

    `g0` sets take the place of ASCII until they are left; all others lie in the upper half beside it.
    """

    codec: str
    escape: bytes
    width: int = 1
    g0: bool = False
    prefix: bytes = b""

    def encode(self, character: str) -> bytes | None:
        """The character's bytes in this set, or None where it is not in it."""
        try:
            raw = character.encode(self.codec)
        except UnicodeEncodeError:
            return None
        raw = raw.removeprefix(self.prefix) if self.prefix and raw.startswith(self.prefix) else raw
        if (
            len(raw) != self.width
            or raw[0] < 0xA0
            or (self.prefix and len(character.encode(self.codec)) != 3)
        ):
            return None
        return bytes(byte & 0x7F for byte in raw) if self.g0 else raw


_ASCII_G0, _ROMAJI_G0 = b"\x1b(B", b"\x1b(J"
# PS3.3 tables C.12-3 and C.12-4: what each adds to the first half, by its number.
_SETS = {
    "100": _Set("latin-1", b"\x1b-A"), "101": _Set("iso8859_2", b"\x1b-B"), "109": _Set("iso8859_3", b"\x1b-C"),
    "110": _Set("iso8859_4", b"\x1b-D"), "144": _Set("iso8859_5", b"\x1b-L"), "127": _Set("iso8859_6", b"\x1b-G"),
    "126": _Set("iso8859_7", b"\x1b-F"), "138": _Set("iso8859_8", b"\x1b-H"), "148": _Set("iso8859_9", b"\x1b-M"),
    "166": _Set("iso8859_11", b"\x1b-T"), "13": _Set("shift_jis", b"\x1b)I"),
    "87": _Set("euc_jp", b"\x1b$B", width=2, g0=True),
    "159": _Set("euc_jp", b"\x1b$(D", width=2, g0=True, prefix=b"\x8f"),
    "149": _Set("euc_kr", b"\x1b$)C", width=2), "58": _Set("gb2312", b"\x1b$)A", width=2),
}  # fmt: skip
_MULTI_BYTE = frozenset({"58", "87", "149", "159"})


def asked_by(identifier: Dataset) -> Terms:
    """The character set of a request, which its answers should have. Raises `BadRequest` for one that is not known."""
    value = identifier.get("SpecificCharacterSet") or ""
    terms = tuple(str(one).strip() for one in ([value] if isinstance(value, str) else value))
    if not any(terms):
        return DEFAULT
    for place, term in enumerate(terms):
        if not _is_known(term, alone=len(terms) == 1, first=place == 0):
            raise BadRequest(
                f"Specific Character Set {term[:16]!r} is not known here.",
                action="Give defined terms of PS3.3 C.12.1.1.2.",
            )
    return terms


def readable(asked: Terms, texts: Sequence[str]) -> Terms:
    """What to write `texts` in for a requester that named `asked`."""
    if all(text.isascii() for text in texts):
        return DEFAULT
    return asked if asked and all(_written(text, asked) is not None for text in texts) else UTF_8


def encode(text: str, terms: Terms) -> bytes:
    """`text` in the character set that `readable` chose for it. Raises `ValueError` where it cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    written = _written(text, terms)
    if written is None:
        raise ValueError(f"the text does not fit into {terms}")
    return written


def make_readable(answer: Dataset, asked: Terms) -> None:
    """Set an answer's (0008,0005), or take it away, so that whoever named `asked` can read it when it is written."""
    terms = readable(asked, list(_texts(answer)))
    if terms:
        answer.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
    elif "SpecificCharacterSet" in answer:
        del answer.SpecificCharacterSet


def _texts(data_set: Dataset) -> Iterator[str]:
    for element in data_set.iterall():
        if element.VR in TEXT and element.value:
            values = [element.value] if isinstance(element.value, str | PersonName) else element.value
            yield from (str(value) for value in values)


def _number(term: str) -> str | None:
    """The registration number of `ISO_IR 100` and of `ISO 2022 IR 100`."""
    for start in ("ISO_IR ", "ISO 2022 IR "):
        if term.startswith(start):
            return term.removeprefix(start)
    return None


def _is_known(term: str, *, alone: bool, first: bool) -> bool:
    if term in _ALONE:
        return alone
    if term == "":
        return first
    number = _number(term)
    if number in _MULTI_BYTE:
        # Some devices leave out the empty first value; what they mean is beyond doubt.
        return term.startswith("ISO 2022")
    return number == "6" or number in _SETS


def _written(text: str, terms: Terms) -> bytes | None:
    """`text` in these sets, or None where a character is in none of them."""
    if terms and terms[0] in _ALONE:
        try:
            return text.encode(_ALONE[terms[0]])
        except UnicodeEncodeError:
            return None
    numbers = [_number(term) for term in terms]
    sets = [_SETS[number] for number in numbers if number in _SETS]
    initial = _SETS[numbers[0]] if numbers and numbers[0] in _SETS and numbers[0] not in _MULTI_BYTE else None
    ascii_g0 = _ROMAJI_G0 if numbers and numbers[0] == "13" else _ASCII_G0
    written, active, g0 = bytearray(), initial, False
    for character in text:
        if character.isascii():
            if g0:
                written += ascii_g0
                g0 = False
                active = initial
            if character in _NAME_DELIMITERS:
                active = initial
            written += character.encode()
            continue
        candidates = [active, initial, *sets] if active else [initial, *sets]
        for one in candidates:
            encoded = one.encode(character) if one is not None else None
            if one is None or encoded is None:
                continue
            if g0 and not one.g0:
                written += ascii_g0
            if one is not active:
                written += one.escape
            active, g0 = one, one.g0
            written += encoded
            break
        else:
            return None
    return bytes(written + (ascii_g0 if g0 else b""))
