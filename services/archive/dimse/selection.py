"""What a C-GET or C-MOVE asks for: an identifier's unique keys, and the instances below them (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from services.archive.dimse.information_model import (
    LEVEL_NAMES,
    Model,
    check_hierarchy,
    level_of,
    unique_key,
    value_of,
)
from services.archive.index.query import Condition, Level, Query, condition
from services.archive.index.records import StoredInstance
from services.archive.ports import Index
from services.common.errors import BadRequest


@dataclass(frozen=True, slots=True)
class _Part:
    """Instances of one study: all of them, a series, or these of a series."""

    study_uid: str
    series_uid: str | None = None
    instances: frozenset[str] | None = None


class Selection:
    """The instances that an identifier names, study by study; their number is known before the first."""

    def __init__(self, index: Index, query: Query) -> None:
        self._index, self._institutions = index, query.institutions
        self._parts = list(self._found(query))
        self.count = sum(count for _, count in self._parts)

    def studies(self) -> Iterator[list[StoredInstance]]:
        """The instances in reading order, at most a study at once. Raises `IndexUnavailable`."""
        for part, _ in self._parts:
            yield self._instances(part)

    def _instances(self, part: _Part) -> list[StoredInstance]:
        found = self._index.instances(self._institutions, part.study_uid, part.series_uid)
        return [one for one in found if part.instances is None or one.sop_instance_uid in part.instances]

    def _found(self, query: Query) -> Iterator[tuple[_Part, int]]:
        counts: dict[tuple[str, str | None], int] = {}
        chosen: dict[tuple[str, str | None], set[str]] = {}
        twice = set()
        level = max(query.level, Level.STUDY)
        for match in self._index.each(Query(level, query.institutions, query.conditions)):
            place = (match.study_uid, match.series_uid)
            if match.sop_instance_uid is not None:
                chosen.setdefault(place, set()).add(match.sop_instance_uid)
                continue
            if place in counts:
                twice.add(place)
            count = match.study_instances if match.series_instances is None else match.series_instances
            counts[place] = count
        for place, count in counts.items():
            part = _Part(*place)
            # Two institutions hold a study of this UID: a reader gets one copy of each instance.
            yield part, len(self._instances(part)) if place in twice else count
        for place, uids in chosen.items():
            yield _Part(*place, frozenset(uids)), len(uids)


def read_selection(
    identifier: Dataset, model: Model, institutions: frozenset[str], *, relational: bool
) -> Query:
    """The query for what an identifier names. Raises `BadRequest` where it does not fit the model."""
    level = level_of(identifier, model)
    if not relational:
        check_hierarchy(identifier, model, level)
    conditions: list[Condition] = []
    for one in (one for one in Level if model.top <= one <= level):
        key = unique_key(one)
        value = value_of(identifier, int(key.tag, 16))
        several = "\\" in value and one is Level.PATIENT
        if one is level and (not value or several or any(c in value for c in "*?")):
            raise BadRequest(
                f"{key.keyword} must be named at level {LEVEL_NAMES[level]}.",
                action="Name what to retrieve, without wildcards.",
            )
        made = condition(key, value)
        if made is not None:
            conditions.append(made)
    return Query(level, institutions, tuple(conditions))
