"""What a query asks of the index, and what the asked value means (PS3.4 C.2.2.2).

QIDO-RS and C-FIND both end in a `Query`; the adapters answer it alike because each condition is
already a plain value here: one of several, a wildcard, a range or a person name.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

from services.archive.index.names import asked_words, normalise
from services.archive.index.records import SearchName
from services.common.errors import BadRequest

MAX_VALUE = 64 * 1024
MAX_WORDS = 16


class Level(IntEnum):
    """The information level of an answer. The attributes of a patient are kept with each of its studies."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    INSTANCE = 3


class Kind(Enum):
    """How a key's value is read and matched."""

    UID = "uid"
    TEXT = "text"
    NAME = "name"
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    TEXTS = "texts"  # the row holds several values, one must match


@dataclass(frozen=True, slots=True)
class Key:
    """A matching key: its DICOM keyword and tag, and the record field (and column) that holds it."""

    keyword: str
    tag: str
    level: Level
    kind: Kind
    column: str


KEYS: tuple[Key, ...] = (
    Key("StudyInstanceUID", "0020000D", Level.STUDY, Kind.UID, "study_uid"),
    Key("PatientName", "00100010", Level.PATIENT, Kind.NAME, "patient_name"),
    Key("PatientID", "00100020", Level.PATIENT, Kind.TEXT, "patient_id"),
    Key("IssuerOfPatientID", "00100021", Level.PATIENT, Kind.TEXT, "issuer"),
    Key("PatientBirthDate", "00100030", Level.PATIENT, Kind.DATE, "birth_date"),
    Key("PatientSex", "00100040", Level.PATIENT, Kind.TEXT, "sex"),
    Key("StudyDate", "00080020", Level.STUDY, Kind.DATE, "study_date"),
    Key("StudyTime", "00080030", Level.STUDY, Kind.TIME, "study_time"),
    Key("AccessionNumber", "00080050", Level.STUDY, Kind.TEXT, "accession_number"),
    Key("ModalitiesInStudy", "00080061", Level.STUDY, Kind.TEXTS, "modalities"),
    Key("ReferringPhysicianName", "00080090", Level.STUDY, Kind.NAME, "referring"),
    Key("StudyDescription", "00081030", Level.STUDY, Kind.TEXT, "description"),
    Key("StudyID", "00200010", Level.STUDY, Kind.TEXT, "study_id"),
    Key("SeriesInstanceUID", "0020000E", Level.SERIES, Kind.UID, "series_uid"),
    Key("Modality", "00080060", Level.SERIES, Kind.TEXT, "modality"),
    Key("SeriesNumber", "00200011", Level.SERIES, Kind.NUMBER, "number"),
    Key("SeriesDescription", "0008103E", Level.SERIES, Kind.TEXT, "description"),
    Key("PerformedProcedureStepStartDate", "00400244", Level.SERIES, Kind.DATE, "performed_date"),
    Key("PerformedProcedureStepStartTime", "00400245", Level.SERIES, Kind.TIME, "performed_time"),
    Key(
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        Level.SERIES,
        Kind.TEXTS,
        "scheduled_steps",
    ),
    Key(
        "RequestAttributesSequence.RequestedProcedureID",
        "00400275.00401001",
        Level.SERIES,
        Kind.TEXTS,
        "requested_procedures",
    ),
    Key("SOPInstanceUID", "00080018", Level.INSTANCE, Kind.UID, "sop_instance_uid"),
    Key("SOPClassUID", "00080016", Level.INSTANCE, Kind.UID, "sop_class_uid"),
    Key("InstanceNumber", "00200013", Level.INSTANCE, Kind.NUMBER, "number"),
)
_BY_NAME = {name: key for key in KEYS for name in (key.keyword, key.tag)}


@dataclass(frozen=True, slots=True)
class OneOf:
    """The row's value is one of these (text, or numbers for `Kind.NUMBER`)."""

    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """The row's value fits one of these patterns: `*` any characters, `?` exactly one (PS3.4 C.2.2.2.4)."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The row's value lies in this closed range; an empty end is open (PS3.4 C.2.2.2.5)."""

    low: str
    high: str


@dataclass(frozen=True, slots=True)
class NameLike:
    """A person name. `any_group` fits one group or another; else each non-empty group must fit its own."""

    any_group: str = ""
    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""


@dataclass(frozen=True, slots=True)
class NameWords:
    """A person name that has, for each of these words, one that begins with it (fuzzy matching)."""

    words: tuple[str, ...]


Matcher = OneOf | Wildcard | Between | NameLike | NameWords


@dataclass(frozen=True, slots=True)
class Condition:
    """One key and what its value must be."""

    key: Key
    matcher: Matcher


@dataclass(frozen=True, slots=True)
class Query:
    """A question to the index. `institutions` None means every one; the empty set matches nothing."""

    level: Level
    institutions: frozenset[str] | None
    conditions: tuple[Condition, ...] = ()
    limit: int = 100
    offset: int = 0


def key_named(name: str) -> Key | None:
    """The matching key with this keyword or tag, or None when the index cannot match on it."""
    return _BY_NAME.get(name)


def condition(key: Key, value: str, *, fuzzy: bool = False) -> Condition | None:
    """Read a matching value; None for universal matching (empty, or `*` alone). Raises BadRequest.

    `fuzzy` matches person names by the beginnings of their words, in any order and without accents
    (PS3.4 C.2.2.2.1 leaves the algorithm to the SCP); no other key is matched differently.
    """
    if not value or value == "*":
        return None
    if "\0" in value or len(value) > MAX_VALUE:
        raise _unreadable(key, f"text of at most {MAX_VALUE} characters, without NUL,")
    if fuzzy and key.kind is Kind.NAME:
        return _fuzzy(key, value)
    return Condition(key, _matcher(key, value))


def _fuzzy(key: Key, value: str) -> Condition | None:
    words = asked_words(value)
    if len(words) > MAX_WORDS:
        raise _unreadable(key, f"a name of at most {MAX_WORDS} words")
    return Condition(key, NameWords(words)) if words else None


def _matcher(key: Key, value: str) -> Matcher:
    match key.kind:
        case Kind.UID:
            return OneOf(_values(value))
        case Kind.NAME:
            return name_like(value)
        case Kind.DATE:
            return _range(key, value, re.compile(r"\d{8}"), lambda part: part)
        case Kind.TIME:
            return _range(key, value, re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"), pad_time)
        case Kind.NUMBER:
            try:
                numbers = tuple(int(part) for part in _values(value))
            except ValueError:
                raise _unreadable(key, "whole numbers") from None
            if any(abs(number) >= 1 << 63 for number in numbers):
                raise _unreadable(key, "whole numbers of at most 63 bits")
            return OneOf(numbers)
        case Kind.TEXT | Kind.TEXTS:
            parts = _values(value) if key.tag in ("00080060", "00080061") else (value.strip(),)
            return Wildcard(parts) if any(c in value for c in "*?") else OneOf(parts)


def _values(value: str) -> tuple[str, ...]:
    r"""A list of values: PS3.18 8.3.4 separates by comma, DIMSE by backslash."""
    return tuple(part.strip() for part in re.split(r"[,\\]", value) if part.strip())


def name_like(value: str) -> NameLike:
    """Read a person name to match: one group for any writing, or each writing its own."""
    groups = [normalise(group) for group in value.split("=")]
    if len(groups) == 1:
        return NameLike(any_group=groups[0])
    padded = [*groups, "", ""][:3]
    return NameLike(alphabetic=padded[0], ideographic=padded[1], phonetic=padded[2])


def _range(key: Key, value: str, form: re.Pattern[str], pad: Callable[[str], str]) -> Matcher:
    low, dash, high = value.partition("-")
    if not all(part == "" or form.fullmatch(part) for part in (low, high)) or not (low or high):
        raise _unreadable(key, "one value or a range such as 20240101-20241231 (times HHMMSS)")
    low, high = (pad(part) if part else "" for part in (low, high))
    return Between(low, high) if dash else Between(low, low)


def pad_time(value: str) -> str:
    """A TM value as `HHMMSS.ffffff`, so that times compare as text."""
    whole, _, fraction = value.partition(".")
    return f"{whole.ljust(6, '0')}.{fraction.ljust(6, '0')}"


def _unreadable(key: Key, wanted: str) -> BadRequest:
    return BadRequest(
        f"The value of {key.keyword} cannot be read.", action=f"Give {wanted} for {key.keyword} ({key.tag})."
    )


def wildcard_fits(pattern: str, text: str) -> bool:
    """Whether `text` fits a pattern of `*` and `?`; every other character stands for itself."""
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def name_fits(wanted: NameLike, name: SearchName) -> bool:
    """Whether a person's name fits."""
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    if wanted.any_group:
        return any(wildcard_fits(wanted.any_group, group) for group in groups)
    patterns = (wanted.alphabetic, wanted.ideographic, wanted.phonetic)
    return all(wildcard_fits(p, group) for p, group in zip(patterns, groups, strict=True) if p)


def names(keys: Iterable[Key]) -> str:
    """Keywords in one line, for error messages."""
    return ", ".join(key.keyword for key in keys)
