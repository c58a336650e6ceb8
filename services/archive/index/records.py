"""The rows of the index as values; both adapters and every caller speak in these.

UIDs in a record have passed `check_uid`; names and other text are Unicode whatever character set
the data set used; lengths and offsets are bytes, offsets of an instance count from its pack's start
and all others from the instance's start (docs/contracts.md, sections 5 and 11).
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PackRecord:
    """One committed pack: an object in the store."""

    pack_id: str
    region: str
    institution: str
    site: str
    study_uid: str
    object_key: str
    length: int
    sealed_at: datetime
    key_id: str | None


@dataclass(frozen=True, slots=True)
class SearchName:
    """A person name ready for matching: one normalised form per component group (PS3.5 6.2.1.1)."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as its first instance described it; `attributes` is a DICOM JSON object in UTF-8."""

    study_uid: str
    patient_id: str
    issuer: str
    patient_name: SearchName
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    accession_number: str
    study_id: str
    description: str
    referring: SearchName
    attributes: bytes


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """A series as its first instance described it; `attributes` is a DICOM JSON object in UTF-8."""

    series_uid: str
    modality: str
    number: int | None
    description: str
    performed_date: str
    performed_time: str
    requested_procedures: tuple[str, ...]
    scheduled_steps: tuple[str, ...]
    attributes: bytes


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One version of one instance: where its bytes lie in the pack, and its ready DICOM JSON."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    number: int | None
    transfer_syntax: str
    offset: int
    length: int
    data_offset: int
    digest: str
    pixel_digest: str
    pixel_offset: int
    pixel_length: int
    frames: tuple[tuple[int, int], ...]
    received_at: datetime
    calling_ae: str
    called_ae: str
    dicom_json: bytes


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A signed receipt (docs/contracts.md, section 8) of one instance of one pack in one epoch."""

    sop_instance_uid: str
    digest: str
    epoch: int
    key_id: str
    committed_at: datetime
    jws: str


@dataclass(frozen=True, slots=True)
class PackContent:
    """All that one pack brings: one study, its series, its instances in pack order."""

    pack: PackRecord
    study: StudyRecord
    series: tuple[SeriesRecord, ...]
    instances: tuple[InstanceRecord, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a commit changed; the counts add up to the pack's instances."""

    added: int
    duplicates: int
    conflicts: int
    tombstoned: int


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """Enough to read an instance's bytes and to say whose they are."""

    institution: str
    site: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    object_key: str
    offset: int
    length: int
    data_offset: int
    pixel_offset: int
    pixel_length: int
    frames: tuple[tuple[int, int], ...]
    digest: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another version of an instance that was kept beside the first: same identity, other digest."""

    instance: StoredInstance
    first_digest: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """One answer to a query. The objects of the levels above the asked one come with it.

    At the level PATIENT it is the patient's newest study that matches, and the counts and modalities are of all
    studies of the patient, `patient_studies` of them.
    """

    institution: str
    study_uid: str
    study: bytes
    modalities: tuple[str, ...]
    study_series: int
    study_instances: int
    series_uid: str | None = None
    series: bytes | None = None
    series_instances: int | None = None
    sop_instance_uid: str | None = None
    instance: bytes | None = None
    patient_studies: int | None = None
