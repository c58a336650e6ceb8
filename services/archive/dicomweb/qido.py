"""QIDO-RS (PS3.18 10.6): what a search asks, and its answers as DICOM JSON."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword

from services.archive.access import Access
from services.archive.index.dicom_json import JsonObject
from services.archive.index.query import (
    KEYS,
    Condition,
    Key,
    Level,
    OneOf,
    Query,
    condition,
    key_named,
    names,
)
from services.archive.index.records import Match
from services.archive.ports import Index
from services.common.errors import BadRequest
from services.packs.instance import InstanceError, check_uid

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_OFFSET = 1 << 31
_TAG = re.compile("[0-9A-Fa-f]{8}")
_CONTROLS = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept", "charset"})

# Returned always, empty if unknown (PS3.18 tables 10.6.3-3, -4 and -5), with the VR of an empty one.
_STUDY = {
    "00080005": "CS", "00080020": "DA", "00080030": "TM", "00080050": "SH", "00080056": "CS", "00080061": "CS",
    "00080090": "PN", "00081190": "UR", "00100010": "PN", "00100020": "LO", "00100030": "DA", "00100040": "CS",
    "0020000D": "UI", "00200010": "SH", "00201206": "IS", "00201208": "IS",
}  # fmt: skip
_SERIES = {
    "00080005": "CS", "00080060": "CS", "0008103E": "LO", "00081190": "UR", "0020000D": "UI", "0020000E": "UI",
    "00200011": "IS", "00201209": "IS",
}  # fmt: skip
_INSTANCE = {
    "00080005": "CS", "00080016": "UI", "00080018": "UI", "00080056": "CS", "00081190": "UR", "0020000D": "UI",
    "0020000E": "UI", "00200013": "IS",
}  # fmt: skip
# Returned when the object has them.
_IF_PRESENT = {
    Level.STUDY: frozenset({"00080201", "00081030", "00100021"}),
    Level.SERIES: frozenset({"00080201", "00400244", "00400245", "00400275"}),
    Level.INSTANCE: frozenset({"00080201", "00083002", "00280008", "00280010", "00280011", "00280100"}),
}
_ALWAYS = {Level.STUDY: _STUDY, Level.SERIES: _SERIES, Level.INSTANCE: _INSTANCE}


@dataclass(frozen=True, slots=True)
class Search:
    """A search as asked: the query and which further attributes to return (`None`: all that are known)."""

    query: Query
    fields: frozenset[str] | None
    # A relational search (all series, all instances) returns the attributes of the levels above too.
    relational: bool


def read_search(
    level: Level,
    parameters: Iterable[tuple[str, str]],
    access: Access,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
) -> Search:
    """Read a search's parameters. Raises `BadRequest` for one that cannot be honoured: none is ignored."""
    conditions: list[Condition] = []
    fields: set[str] | None = set()
    limit, offset = DEFAULT_LIMIT, 0
    given = list(parameters)
    fuzzy = any(name == "fuzzymatching" and _flag(name, value) for name, value in given)
    for name, value in given:
        if name == "limit":
            limit = _number(name, value, MAX_LIMIT)
        elif name == "offset":
            offset = _number(name, value, MAX_OFFSET)
        elif name == "includefield":
            fields = None if fields is None or value.lower() == "all" else fields | _fields(value)
        elif name not in _CONTROLS:
            made = condition(_key(name, level), value, fuzzy=fuzzy)
            if made is not None:
                conditions.append(made)
    for name, uid in (("StudyInstanceUID", study_uid), ("SeriesInstanceUID", series_uid)):
        key = key_named(name)
        if uid is not None and key is not None:
            conditions.append(Condition(key, OneOf((checked_uid(uid, name),))))
    above = {Level.STUDY: True, Level.SERIES: study_uid is not None, Level.INSTANCE: series_uid is not None}
    query = Query(level, access.institutions, tuple(conditions), limit, offset)
    chosen = None if fields is None else frozenset(fields)
    return Search(query, chosen, relational=not above[level])


def checked_uid(uid: str, what: str) -> str:
    """A UID from a URL. Raises `BadRequest` before it reaches a key, a path or a query."""
    try:
        return check_uid(uid, what)
    except InstanceError:
        raise BadRequest(
            f"{what} in the URL is not a UID.", action="A UID is 1-64 digits and dots (PS3.5 9.1)."
        ) from None


def search(index: Index, asked: Search, base_url: str) -> tuple[list[bytes], bool]:
    """One DICOM JSON object a match, and whether there are more than the limit."""
    query = asked.query
    probe = Query(query.level, query.institutions, query.conditions, query.limit + 1, query.offset)
    matches = index.find(probe)
    return [_answer(match, asked, base_url) for match in matches[: query.limit]], len(matches) > query.limit


def _answer(match: Match, asked: Search, base_url: str) -> bytes:
    level = asked.query.level
    known = _study(match, base_url)
    levels = [Level.STUDY]
    if match.series is not None:
        known |= _series(match, base_url)
        levels.append(Level.SERIES)
    if match.instance is not None:
        known |= _instance(match, base_url)
        levels.append(Level.INSTANCE)
    shown = levels if asked.relational else [level]
    always = {tag: vr for one in shown for tag, vr in _ALWAYS[one].items()}
    wanted = always.keys() | {tag for one in shown for tag in _IF_PRESENT[one]}
    answer = {
        tag: value for tag, value in known.items()
        if asked.fields is None or tag in wanted or tag in asked.fields
    }  # fmt: skip
    for tag, vr in always.items():
        answer.setdefault(tag, {"vr": vr})
    ordered = dict(sorted(answer.items()))
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()


def _study(match: Match, base_url: str) -> JsonObject:
    stored: JsonObject = json.loads(match.study)
    return stored | {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080061": {"vr": "CS", "Value": list(match.modalities)} if match.modalities else {"vr": "CS"},
        "0020000D": {"vr": "UI", "Value": [match.study_uid]},
        "00081190": {"vr": "UR", "Value": [f"{base_url}/studies/{match.study_uid}"]},
        "00201206": {"vr": "IS", "Value": [match.study_series]},
        "00201208": {"vr": "IS", "Value": [match.study_instances]},
    }


def _series(match: Match, base_url: str) -> JsonObject:
    stored: JsonObject = json.loads(match.series or b"{}")
    return stored | {
        "0020000E": {"vr": "UI", "Value": [match.series_uid]},
        "00081190": {
            "vr": "UR",
            "Value": [f"{base_url}/studies/{match.study_uid}/series/{match.series_uid}"],
        },
        "00201209": {"vr": "IS", "Value": [match.series_instances]},
    }


def _instance(match: Match, base_url: str) -> JsonObject:
    stored: JsonObject = json.loads(match.instance or b"{}")
    url = f"{base_url}/studies/{match.study_uid}/series/{match.series_uid}/instances/{match.sop_instance_uid}"
    return stored | {"00081190": {"vr": "UR", "Value": [url]}}


def _number(name: str, value: str, most: int) -> int:
    """A count; more than `most` is cut to it, as PS3.18 8.3.4.4 lets an origin server do."""
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise BadRequest(f"{name} is not a whole number.", action=f"Give {name} as digits, at most {most}.")
    return min(int(value), most)


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadRequest(f"{name} is neither true nor false.", action=f"Say {name}=true or {name}=false.")
    return value.lower() == "true"


def _key(name: str, level: Level) -> Key:
    key = key_named(name) or key_named(name.upper())
    if key is None or key.level > level:
        matching = names(one for one in KEYS if one.level <= level)
        raise BadRequest(
            f"The search parameter {name[:64]!r} cannot be matched here.",
            action=f"Match on one of: {matching}.",
        )
    return key


def _fields(value: str) -> set[str]:
    """Tags of an includefield list of keywords or tags (PS3.18 8.3.4.3)."""
    tags = set()
    for part in filter(None, (one.strip() for one in value.split(","))):
        # Of a path into a sequence the whole sequence is returned: it is known as one.
        first = part.partition(".")[0]
        number = int(first, 16) if _TAG.fullmatch(first) else tag_for_keyword(first)
        if number is None:
            raise BadRequest(
                f"includefield names the unknown attribute {part[:64]!r}.",
                action="Give keywords such as StudyDescription, tags such as 00081030, or all.",
            )
        tags.add(f"{number:08X}")
    return tags
