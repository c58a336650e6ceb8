"""Pack contents for index tests, small and explicit."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from services.archive.index.names import search_name
from services.archive.index.records import (
    InstanceRecord,
    PackContent,
    PackRecord,
    ReceiptRecord,
    SeriesRecord,
    StudyRecord,
)

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def digest_of(text: str) -> str:
    """A digest that differs where the text differs."""
    return sha256(text.encode()).hexdigest()


def a_study(study_uid: str = "1.2.3", **changes: Any) -> StudyRecord:
    """A study of Wang Xiaodong unless told otherwise; `patient_name` and `referring` as DICOM JSON."""
    fields: dict[str, Any] = {
        "patient_id": "P1", "issuer": "", "birth_date": "19700101", "sex": "M", "study_date": "20250301",
        "study_time": "101500.000000", "accession_number": "A1", "study_id": "S1", "description": "CT CHEST",
        "patient_name": {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小東"}, "referring": {"Alphabetic": "Li^Na"},
    } | changes  # fmt: skip
    attributes = json.dumps(
        {
            "0020000D": {"vr": "UI", "Value": [study_uid]},
            "00100010": {"vr": "PN", "Value": [fields["patient_name"]]},
            "00100020": {"vr": "LO", "Value": [fields["patient_id"]]},
        },
        ensure_ascii=False,
    ).encode()
    fields["patient_name"] = search_name(fields["patient_name"])
    fields["referring"] = search_name(fields["referring"])
    return StudyRecord(study_uid=study_uid, attributes=attributes, **fields)


def a_series(series_uid: str = "1.2.3.1", **changes: Any) -> SeriesRecord:
    """A CT series."""
    fields: dict[str, Any] = {
        "modality": "CT", "number": 1, "description": "", "performed_date": "20250301",
        "performed_time": "101000.000000", "requested_procedures": ("RP1",), "scheduled_steps": ("SPS1", "SPS2"),
    } | changes  # fmt: skip
    return SeriesRecord(
        series_uid=series_uid, attributes=b'{"series":"' + series_uid.encode() + b'"}', **fields
    )


def an_instance(uid: str, series_uid: str = "1.2.3.1", content: str = "", **changes: Any) -> InstanceRecord:
    """A CT slice; `content` makes its digest."""
    fields: dict[str, Any] = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "number": 1, "transfer_syntax": "1.2.840.10008.1.2.1",
        "offset": 8, "length": 1000, "data_offset": 300, "digest": digest_of(uid + content), "pixel_digest": "",
        "pixel_offset": 488, "pixel_length": 512, "frames": ((488, 256), (744, 256)), "received_at": NOON,
        "calling_ae": "CT1", "called_ae": "PACS", "dicom_json": b'{"instance":"' + uid.encode() + b'"}',
    } | changes  # fmt: skip
    return InstanceRecord(sop_instance_uid=uid, series_uid=series_uid, **fields)


def a_pack(
    *instances: InstanceRecord,
    name: str = "one",
    institution: str = "yanan",
    study: StudyRecord | None = None,
    series: tuple[SeriesRecord, ...] | None = None,
) -> PackContent:
    """A pack of these instances; `name` makes its id."""
    study = study or a_study()
    pack_id = digest_of(f"{institution} {name}")
    pack = PackRecord(
        pack_id=pack_id, region="local", institution=institution, site="yanchang", study_uid=study.study_uid,
        object_key=f"packs/{institution}/{pack_id[:2]}/{pack_id}.pack", length=5000, sealed_at=NOON, key_id=None,
    )  # fmt: skip
    if series is None:
        series = tuple(a_series(uid) for uid in sorted({one.series_uid for one in instances}))
    return PackContent(pack, study, series, instances)


def receipts_for(content: PackContent, epoch: int = 1) -> list[ReceiptRecord]:
    """One receipt an instance; the signature is not this test's matter."""
    return [
        ReceiptRecord(
            one.sop_instance_uid, one.digest, epoch, "key-1", NOON, f"jws.{one.sop_instance_uid}.{epoch}"
        )
        for one in content.instances
    ]
