"""An imaging order as a modality needs it: the document that an information system hands in (PS3.4 K.6.1.2).

One model for every way in, so that a value which no DICOM attribute can hold is refused where it enters, by the
name of its field, and never met again when a modality asks.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.common.settings import AETitle
from services.packs.instance import InstanceError, check_uid

_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def _plain(text: str) -> str:
    """PS3.5 6.2: none of these VRs may hold control characters, and a backslash would make two values."""
    if _CONTROL.search(text):
        raise ValueError("control characters and backslashes are not allowed")
    if text != text.strip():
        raise ValueError("spaces before or behind it are not allowed")
    text.encode()  # a lone surrogate has no bytes in any character set: UnicodeEncodeError is a ValueError
    return text


def _group(text: str) -> str:
    if "=" in text:
        raise ValueError("`=` separates the groups of a name and is not allowed within one")
    if text.count("^") > 4:
        raise ValueError("a name has at most five components, separated by `^`")
    return text


def _uid(text: str) -> str:
    try:
        return check_uid(text, "study_instance_uid")
    except InstanceError:
        raise ValueError("a UID is 1-64 digits and dots (PS3.5 9.1)") from None


def _local(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        raise ValueError("the hospital's local time is meant, without an offset: modalities know no other")
    return moment


Short = Annotated[str, Field(max_length=16), AfterValidator(_plain)]
"""VR SH."""
Long = Annotated[str, Field(max_length=64), AfterValidator(_plain)]
"""VR LO."""
ShortName = Annotated[str, Field(min_length=1, max_length=16), AfterValidator(_plain)]
LongName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_plain)]
NameGroup = Annotated[str, Field(max_length=64), AfterValidator(_plain), AfterValidator(_group)]
Modality = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$"), AfterValidator(_plain)]
StudyUid = Annotated[str, AfterValidator(_uid)]
LocalTime = Annotated[datetime, AfterValidator(_local)]
EntryId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Person(_Part):
    """A person's name in up to three writings, each `family^given^middle^prefix^suffix` (PS3.5 6.2.1)."""

    alphabetic: NameGroup = ""
    ideographic: NameGroup = ""
    phonetic: NameGroup = ""

    @model_validator(mode="after")
    def _says_something(self) -> Person:
        if not (self.alphabetic or self.ideographic or self.phonetic):
            raise ValueError("give the name in at least one writing")
        return self

    @property
    def text(self) -> str:
        """The value of a PN attribute."""
        return f"{self.alphabetic}={self.ideographic}={self.phonetic}".rstrip("=")


class Code(_Part):
    """A coded concept (PS3.3 8.8)."""

    value: ShortName
    scheme: ShortName
    meaning: LongName


class Patient(_Part):
    """Who is examined."""

    id: LongName
    issuer: Long = ""
    name: Person
    birth_date: date | None = None
    sex: Literal["M", "F", "O"] | None = None
    weight_kg: float | None = Field(default=None, gt=0, lt=1000)
    state: Long = ""
    special_needs: Long = ""
    confidentiality: Long = ""
    medical_alerts: tuple[LongName, ...] = ()
    allergies: tuple[LongName, ...] = ()


class Visit(_Part):
    """The stay that the order belongs to."""

    admission_id: Long = ""
    current_location: Long = ""


class Procedure(_Part):
    """What was requested. Without a Study Instance UID one is made, always the same for the same entry."""

    id: ShortName
    description: Long = ""
    code: Code | None = None
    study_instance_uid: StudyUid | None = None
    priority: Literal["STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"] | None = None
    transport: Long = ""


class Step(_Part):
    """What a modality is to do, where and when."""

    id: ShortName
    station_ae_titles: tuple[AETitle, ...] = Field(min_length=1, max_length=16)
    station_name: Short = ""
    location: Short = ""
    modality: Modality
    start: LocalTime
    description: Long = ""
    protocol: tuple[Code, ...] = ()
    performing_physician: Person | None = None
    pre_medication: Long = ""
    contrast_agent: Long = ""


class Order(_Part):
    """One scheduled procedure step with all that a modality may ask about it."""

    patient: Patient
    procedure: Procedure
    step: Step
    accession_number: Short = ""
    visit: Visit = Visit()
    requesting_physician: Person | None = None
    referring_physician: Person | None = None

    @model_validator(mode="after")
    def _can_be_described(self) -> Order:
        # PS3.4 K.6.1.2: of description and code one is there, of the procedure and of the step alike (type 1C).
        if not (self.procedure.description or self.procedure.code):
            raise ValueError("procedure: give a description or a code")
        if not (self.step.description or self.step.protocol):
            raise ValueError("step: give a description or a protocol")
        return self
