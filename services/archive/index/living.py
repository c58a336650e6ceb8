"""What is left of a pack once hidden instances are taken out; levels are described by what lives.

Studies and series are described by their first living instance, oldest pack first and in pack order: so a
live index, one rebuilt from packs and one after compaction say the same.
"""

import json
from collections.abc import Collection
from dataclasses import replace

from services.archive.index.header import Header, series_record, study_record
from services.archive.index.records import InstanceRecord, PackContent, SeriesRecord, StudyRecord
from services.archive.tombstones.document import Grave


def living_content(content: PackContent, graves: Collection[Grave]) -> PackContent:
    """`content` without its hidden instances; study and series are described anew where their first was hidden."""
    study_uid = content.pack.study_uid
    living = tuple(
        one for one in content.instances
        if not any(grave.covers(study_uid, one) for grave in graves)
    )  # fmt: skip
    if len(living) == len(content.instances) or not living:
        return replace(content, instances=living)
    study = content.study
    if living[0] is not content.instances[0]:
        study = described_study(living[0].dicom_json, study_uid)
    series = tuple(
        one
        if _first_of(content.instances, one) is first
        else described_series(first.dicom_json, one.series_uid)
        for one in content.series
        if (first := _first_of(living, one)) is not None
    )
    return replace(content, study=study, series=series, instances=living)


def described_study(dicom_json: bytes, study_uid: str) -> StudyRecord:
    """The study as an instance's ready DICOM JSON describes it."""
    return study_record(Header(json.loads(dicom_json), readable=True), study_uid)


def described_series(dicom_json: bytes, series_uid: str) -> SeriesRecord:
    """The series as an instance's ready DICOM JSON describes it."""
    return series_record(Header(json.loads(dicom_json), readable=True), series_uid)


def _first_of(instances: Collection[InstanceRecord], series: SeriesRecord) -> InstanceRecord | None:
    return next((one for one in instances if one.series_uid == series.series_uid), None)
