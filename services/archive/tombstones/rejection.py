"""A rejection note: a stored Key Object Selection Document whose title rejects what it names (IHE RAD-66).

The title is (0040,A043) with a code of `reasons` in the scheme DCM; what is rejected stands in the Current
Requested Procedure Evidence Sequence (0040,A375), which PS3.3 C.17.6.2 has name every instance of the document.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from services.archive.index.records import InstanceRecord, PackContent
from services.archive.tombstones.document import Target, Tombstone
from services.archive.tombstones.reasons import REASONS, outlasts_resend
from services.common.clock import rfc3339
from services.packs.instance import is_uid

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
_TITLE, _CODE, _SCHEME = "0040A043", "00080100", "00080102"
_EVIDENCE, _SERIES, _INSTANCES = "0040A375", "00081115", "00081199"
_STUDY_UID, _SERIES_UID, _INSTANCE_UID = "0020000D", "0020000E", "00081155"
_log = logging.getLogger(__name__)


def rejections_in(content: PackContent) -> Iterator[Tombstone]:
    """The tombstones that a pack's rejection notes mean, for the pack's own institution alone.

    The same note gives the same tombstone, whoever reads it again.
    """
    for one in content.instances:
        if one.sop_class_uid == KEY_OBJECT_SELECTION:
            found = _rejection(content, one)
            if found is not None:
                yield found


def _rejection(content: PackContent, note: InstanceRecord) -> Tombstone | None:
    attributes = json.loads(note.dicom_json)
    code = next(
        (_text(item, _CODE) for item in _items(attributes, _TITLE) if _text(item, _SCHEME) == "DCM"), ""
    )
    if code not in REASONS:
        return None
    # A note that names itself must not vanish by it.
    targets = sorted(
        {one for one in _targets(attributes) if one.sop_instance_uid != note.sop_instance_uid}, key=_order
    )
    if not targets:
        _log.warning(
            "a rejection note names no instance: nothing is hidden by it",
            extra={"sop_instance_uid": note.sop_instance_uid, "institution": content.pack.institution},
        )
        return None
    received_at = rfc3339(note.received_at)
    return Tombstone(
        region=content.pack.region,
        institution=content.pack.institution,
        site=content.pack.site,
        code=code,
        reason=REASONS[code],
        deleted_by=f"ae:{note.calling_ae}",
        deleted_at=received_at,
        until=None if outlasts_resend(code) else received_at,
        origin=f"kos:{note.sop_instance_uid}",
        targets=tuple(targets),
    )


def _targets(attributes: dict[str, Any]) -> Iterator[Target]:
    for study in _items(attributes, _EVIDENCE):
        for series in _items(study, _SERIES):
            for instance in _items(series, _INSTANCES):
                uids = _text(study, _STUDY_UID), _text(series, _SERIES_UID), _text(instance, _INSTANCE_UID)
                if all(is_uid(uid) for uid in uids):
                    yield Target(*uids)


def _items(attributes: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [one for one in attributes.get(tag, {}).get("Value", ()) if isinstance(one, dict)]


def _text(attributes: dict[str, Any], tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip()


def _order(target: Target) -> tuple[str, str, str]:
    return (target.study_uid, target.series_uid, target.sop_instance_uid)
