"""C-FIND SCP of the Query/Retrieve service class (PS3.4 C.4.1), on the same index as QIDO-RS.

| status | when |
|---|---|
| 0xFF00 | a match |
| 0xFF01 | a match, but some optional key of the request is not supported |
| 0x0000 | there are no more |
| 0xFE00 | the requester cancelled |
| 0xA900 | the identifier does not fit the SOP class: level or unique keys |
| 0xC000 | a key's value cannot be read, or its character set is unknown |
| 0xA700 | the index does not answer: ask again |
| 0xC001 | a fault of ours |
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from services.archive.dimse.caller import Rights
from services.archive.dimse.character_set import Terms, asked_by
from services.archive.dimse.identifier import encode_identifier
from services.archive.dimse.information_model import (
    LEVEL_NAMES,
    check_hierarchy,
    level_of,
    model_of,
    unique_key,
    value_of,
)
from services.archive.dimse.request import Request
from services.archive.index.dicom_json import JsonObject
from services.archive.index.header import SERIES_TAGS, STUDY_TAGS
from services.archive.index.query import Condition, Level, Query, condition, key_named
from services.archive.index.records import Match
from services.archive.ports import Index
from services.common.errors import BadRequest, PacsError, Unavailable

logger = logging.getLogger(__name__)

SUCCESS, PENDING, PENDING_UNSUPPORTED, CANCEL = 0x0000, 0xFF00, 0xFF01, 0xFE00
OUT_OF_RESOURCES, DOES_NOT_MATCH, CANNOT_PROCESS, FAULT = 0xA700, 0xA900, 0xC000, 0xC001

RightsOf = Callable[[Request], Rights]
# They say how to ask and how to answer, and are no keys.
_CONTROLS = frozenset({"00080005", "00080052", "00080053", "00080054"})
_COMPUTED = {
    Level.PATIENT: frozenset({"00201200", "00201202", "00201204"}),
    Level.STUDY: frozenset({"00080056", "00080061", "00201206", "00201208"}),
    Level.SERIES: frozenset({"00201209"}),
    Level.INSTANCE: frozenset[str](),
}
_PATIENT_TAGS = frozenset(
    tag for tag in STUDY_TAGS if tag[:4] == "0010" and tag not in ("00101010", "00101020")
)
_STORED = {
    Level.PATIENT: _PATIENT_TAGS, Level.STUDY: frozenset(STUDY_TAGS), Level.SERIES: frozenset(SERIES_TAGS),
    Level.INSTANCE: frozenset[str](),
}  # fmt: skip


class FindObserver(Protocol):
    """Where queries are reported, for metrics."""

    def dimse_query(self, status: int, seconds: float) -> None:
        """A C-FIND ended with this status."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A C-FIND as read: the query, which attributes its answers have, and whether all of it is supported."""

    query: Query
    returned: tuple[str, ...]
    supported: bool
    character_set: Terms


def read_find(
    identifier: Dataset, sop_class: str, institutions: frozenset[str], *, relational: bool
) -> Asked:
    """What an identifier asks. Raises `BadRequest`: `DoesNotFit` where it is not one of the SOP class."""
    model = model_of(sop_class)
    try:
        level = level_of(identifier, model)
        if not relational:
            check_hierarchy(identifier, model, level)
    except BadRequest as error:
        raise DoesNotFit(error.detail, action=error.action) from None
    terms = asked_by(identifier)
    conditions: list[Condition] = []
    returned: list[str] = []
    supported = True
    for element in identifier:
        tag = f"{int(element.tag):08X}"
        if tag in _CONTROLS or element.tag.element == 0:
            continue
        made, matched = _conditions(element, tag, level)
        conditions += made
        can_return = _is_known(tag, level)
        supported = supported and matched and can_return
        if can_return:
            returned.append(tag)
    above = [unique_key(one).tag for one in Level if model.top <= one <= level]
    query = Query(level, institutions, tuple(conditions))
    return Asked(query, tuple(dict.fromkeys([*above, *returned])), supported, terms)


class DoesNotFit(BadRequest):
    """An identifier that is not one of its SOP class: its level, or the unique keys above it."""


class Find:
    """Answers C-FIND requests; safe to use from every association's thread."""

    def __init__(
        self, index: Index, rights: RightsOf, ae_title: str, observer: FindObserver | None = None
    ) -> None:
        self._index, self._rights, self._ae_title, self._observer = index, rights, ae_title, observer

    def answer(self, request: Request) -> None:
        """Send a response for each match, and the last one. Raises `OSError` once the peer is gone."""
        started = time.perf_counter()
        count, status, comment, level = 0, FAULT, "A fault of the archive", ""
        try:
            rights = self._rights(request)
            asked = read_find(
                request.identifier(), request.sop_class, rights.institutions, relational=request.is_relational
            )
            level = LEVEL_NAMES[asked.query.level]
            pending = PENDING if asked.supported else PENDING_UNSUPPORTED
            status, comment = SUCCESS, ""
            for match in self._index.each(asked.query) if rights.institutions else ():
                if request.is_cancelled():
                    status = CANCEL
                    break
                answer = self._response(match, asked)
                request.respond(
                    pending, encode_identifier(answer, asked.character_set, implicit=request.implicit)
                )
                count += 1
        except PacsError as error:
            status, comment = _status_of(error), f"{error.action} {error.detail}"
        except OSError:
            raise
        except Exception:
            logger.exception("a C-FIND failed unexpectedly")
            status, comment = FAULT, "A fault of the archive. Ask again later"
        request.respond(status, comment=comment)
        logger.info(
            "C-FIND of level %s answered with 0x%04X",
            level or "unknown",
            status,
            extra={"calling_ae": request.calling_ae, "address": str(request.address), "count": count},
        )
        if self._observer is not None:
            self._observer.dimse_query(status, time.perf_counter() - started)

    def _response(self, match: Match, asked: Asked) -> dict[str, JsonObject]:
        known = _attributes(match, asked.query.level)
        answer = {tag: known.get(tag) or {"vr": _vr(tag)} for tag in asked.returned}
        answer["00080052"] = {"vr": "CS", "Value": [LEVEL_NAMES[asked.query.level]]}
        answer["00080054"] = {"vr": "AE", "Value": [self._ae_title]}
        return answer


def _status_of(error: PacsError) -> int:
    if isinstance(error, DoesNotFit):
        return DOES_NOT_MATCH
    if isinstance(error, BadRequest):
        return CANNOT_PROCESS
    return OUT_OF_RESOURCES if isinstance(error, Unavailable) else FAULT


def _conditions(element: DataElement, tag: str, level: Level) -> tuple[list[Condition], bool]:
    """Conditions of a key, and whether its value is matched; universal matching needs nothing to be."""
    if element.VR == "SQ":
        pairs = [
            _conditions(inner, f"{tag}.{int(inner.tag):08X}", level)
            for item in (element.value or ())
            for inner in item
        ]
        return [one for made, _ in pairs for one in made], all(matched for _, matched in pairs)
    value = value_of(Dataset({element.tag: element}), element.tag)
    key = key_named(tag)
    if not value or value == "*":
        return [], True
    if key is None or key.level > level:
        return [], False
    made = condition(key, value)
    return ([made] if made is not None else []), True


def _is_known(tag: str, level: Level) -> bool:
    """Whether this attribute is returned at the level, if only without a value."""
    if level is Level.INSTANCE:
        return not int(tag[:4], 16) % 2 and tag < "7FE00000"
    return any(tag in _STORED[one] or tag in _COMPUTED[one] for one in Level if one <= level) and not (
        level > Level.PATIENT and tag in _COMPUTED[Level.PATIENT]
    )


def _attributes(match: Match, level: Level) -> dict[str, JsonObject]:
    known: dict[str, JsonObject] = json.loads(match.study)
    known["0020000D"] = {"vr": "UI", "Value": [match.study_uid]}
    known["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    known["00080061"] = {"vr": "CS", "Value": list(match.modalities)}
    series, instances = match.study_series, match.study_instances
    if level is Level.PATIENT:
        known |= _counts(("00201200", match.patient_studies), ("00201202", series), ("00201204", instances))
    else:
        known |= _counts(("00201206", series), ("00201208", instances))
    if match.series is not None:
        known |= json.loads(match.series) | _counts(("00201209", match.series_instances))
        known["0020000E"] = {"vr": "UI", "Value": [match.series_uid]}
    if match.instance is not None:
        known |= json.loads(match.instance)
        known["00080018"] = {"vr": "UI", "Value": [match.sop_instance_uid]}
    return known


def _counts(*counts: tuple[str, int | None]) -> dict[str, JsonObject]:
    return {tag: {"vr": "IS", "Value": [count]} for tag, count in counts}


def _vr(tag: str) -> str:
    try:
        return str(dictionary_VR(int(tag, 16)))[:2]
    except KeyError:
        return "UN"
