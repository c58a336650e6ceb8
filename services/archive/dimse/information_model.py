"""The Query/Retrieve information models: their levels and unique keys, and what an identifier asks (PS3.4 C.3, C.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from services.archive.index.query import Key, Level, key_named
from services.common.errors import BadRequest

LEVELS: Mapping[str, Level] = {
    "PATIENT": Level.PATIENT, "STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE,
}  # fmt: skip
LEVEL_NAMES = {level: name for name, level in LEVELS.items()}
QUERY_RETRIEVE_LEVEL = 0x0008_0052


@dataclass(frozen=True, slots=True)
class Model:
    """An information model by its SOP classes; `top` is its highest level."""

    name: str
    find: str
    move: str
    get: str
    top: Level


PATIENT_ROOT = Model(
    "Patient Root", "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.1.3",
    Level.PATIENT,
)  # fmt: skip
STUDY_ROOT = Model(
    "Study Root", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3",
    Level.STUDY,
)  # fmt: skip
MODELS = (PATIENT_ROOT, STUDY_ROOT)


def model_of(sop_class: str) -> Model:
    """The model that a SOP class belongs to. Raises `KeyError`."""
    return next(one for one in MODELS if sop_class in (one.find, one.move, one.get))


def unique_key(level: Level) -> Key:
    """The unique key of a level (PS3.4 C.6.1.1 to C.6.1.4)."""
    keyword = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")[level]
    key = key_named(keyword)
    if key is None:
        raise KeyError(keyword)
    return key


def level_of(identifier: Dataset, model: Model) -> Level:
    """The level that an identifier asks for. Raises `BadRequest`."""
    name = value_of(identifier, QUERY_RETRIEVE_LEVEL).upper()
    level = LEVELS.get(name)
    if level is None or level < model.top:
        known = ", ".join(one for one, at in LEVELS.items() if at >= model.top)
        raise BadRequest(
            f"Query/Retrieve Level {name[:16]!r} is none of {known}.", action="Correct (0008,0052)."
        )
    return level


def value_of(identifier: Dataset, tag: int) -> str:
    r"""An attribute's value as matching reads it: several are joined with a backslash; none is empty."""
    element = identifier.get(tag)
    value: Any = element.value if element is not None else None
    if value is None:
        return ""
    if isinstance(value, list | tuple) or (hasattr(value, "__iter__") and not isinstance(value, str | bytes)):
        return _joined(value)
    return str(value).strip(" \0")


def _joined(value: Any) -> str:
    # A PersonName iterates over its characters.
    if hasattr(value, "ideographic"):
        return str(value).strip(" \0")
    return "\\".join("" if one is None else str(one).strip(" \0") for one in value)


def check_hierarchy(identifier: Dataset, model: Model, level: Level) -> None:
    """A hierarchical request names exactly one entity of each level above its own (PS3.4 C.4.1.3.1.1).

    Raises `BadRequest`.
    """
    for above in (one for one in Level if model.top <= one < level):
        key = unique_key(above)
        value = value_of(identifier, int(key.tag, 16))
        if not value or any(c in value for c in "\\*?"):
            raise BadRequest(
                f"{key.keyword} must be one value at level {LEVEL_NAMES[level]}.",
                action="Name it, or negotiate relational queries.",
            )
