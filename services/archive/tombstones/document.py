"""A tombstone: who took which instances out of the archive, when and why (docs/contracts.md, section 17).

It is an immutable object beside the packs, named by the SHA-256 of its canonical JSON. The rows of the index
follow from it, so a rebuild needs no database to know what was deleted.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from services.packs.footer import PackError, check_label
from services.packs.instance import InstanceError, check_uid

FORMAT = 1
KIND = "tombstone"
PREFIX = "tombstones/"
MAX_BYTES = 64 << 20
MAX_REASON_CHARACTERS = 1024
_HEX = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[0-9]{0,16}")


class TombstoneError(ValueError):
    """Bytes that are no tombstone: altered, of a later format, or nothing of ours."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is taken out; an empty field stands for every series, instance or version below the one before."""

    study_uid: str
    series_uid: str = ""
    sop_instance_uid: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`until`: what was received later than that is not hidden; None hides every resend too. RFC 3339 times.

    `code` is the rejection's code of DICOM CID 7011, empty for a plain deletion; `origin` names the rejection
    note (`kos:<SOP Instance UID>`) or the interface (`dicomweb`).
    """

    region: str
    institution: str
    site: str
    code: str
    reason: str
    deleted_by: str
    deleted_at: str
    until: str | None
    origin: str
    targets: tuple[Target, ...]

    def encode(self) -> bytes:
        """Canonical JSON: UTF-8, sorted keys, no spaces."""
        document = {"format": FORMAT, "kind": KIND, **asdict(self)}
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @property
    def document_id(self) -> str:
        """SHA-256 of the encoded document, lower-case hex."""
        return sha256(self.encode()).hexdigest()

    @property
    def key(self) -> str:
        """The document's key in an object store."""
        return tombstone_key(self.institution, self.document_id)

    @property
    def study_uids(self) -> list[str]:
        return sorted({target.study_uid for target in self.targets})

    @property
    def until_moment(self) -> datetime | None:
        return None if self.until is None else datetime.fromisoformat(self.until)

    @classmethod
    def decode(cls, encoded: bytes) -> Tombstone:
        """The tombstone these bytes encode. Raises `TombstoneError` for all but the canonical form of format 1."""
        try:
            document = json.loads(encoded)
        except (ValueError, RecursionError):
            raise TombstoneError("the tombstone is not JSON") from None
        if not isinstance(document, dict) or (document.pop("format", None), document.pop("kind", None)) != (
            FORMAT,
            KIND,
        ):
            raise TombstoneError(
                f"the tombstone is not of format {FORMAT}: a newer version wrote it, or nothing of ours"
            )
        _check_names(document, cls)
        targets = document.pop("targets")
        if not isinstance(targets, list) or not targets:
            raise TombstoneError("the tombstone names nothing")
        until = document["until"]
        if not all(isinstance(document[name], str) for name in document.keys() - {"until"}) or not (
            until is None or isinstance(until, str)
        ):
            raise TombstoneError("a field of the tombstone is no text")
        found = cls(targets=tuple(_target(one) for one in targets), **document)
        _check(found)
        if found.encode() != encoded:
            raise TombstoneError("the tombstone is not in canonical form")
        return found


def tombstone_key(institution: str, document_id: str) -> str:
    """`tombstones/<institution>/<first two of id>/<id>.json`."""
    return f"{PREFIX}{institution}/{document_id[:2]}/{document_id}.json"


class Version(Protocol):
    """What of a version of an instance decides whether it is hidden."""

    @property
    def series_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Grave:
    """One line of what is hidden, as the index keeps it: a target and until when it holds."""

    target: Target
    until: datetime | None

    def covers(self, study_uid: str, version: Version) -> bool:
        """Whether a version of an instance of this study lies in it."""
        wanted = self.target
        return (
            wanted.study_uid in ("", study_uid)
            and wanted.series_uid in ("", version.series_uid)
            and wanted.sop_instance_uid in ("", version.sop_instance_uid)
            and wanted.digest in ("", version.digest)
            and (self.until is None or version.received_at <= self.until)
        )


def graves_of(tombstone: Tombstone) -> list[Grave]:
    """A tombstone's targets, each with its moment."""
    return [Grave(target, tombstone.until_moment) for target in tombstone.targets]


def _check_names(document: dict[str, Any], model: type) -> None:
    if document.keys() != {field.name for field in fields(model)}:
        raise TombstoneError(f"the {model.__name__.lower()} lacks or adds a field")


def _target(entry: object) -> Target:
    if not isinstance(entry, dict):
        raise TombstoneError("a target of the tombstone is no object")
    _check_names(entry, Target)
    if not all(isinstance(value, str) for value in entry.values()):
        raise TombstoneError("a field of a target is no text")
    return Target(**entry)


def _check(tombstone: Tombstone) -> None:
    try:
        for name in ("region", "institution", "site"):
            check_label(getattr(tombstone, name), name)
        for target in tombstone.targets:
            check_uid(target.study_uid, "study_uid")
            for uid in filter(None, (target.series_uid, target.sop_instance_uid)):
                check_uid(uid, "target")
    except (PackError, InstanceError) as error:
        raise TombstoneError(str(error)) from None
    for target in tombstone.targets:
        if target.digest and not (target.sop_instance_uid and _HEX.fullmatch(target.digest)):
            raise TombstoneError("a digest of the tombstone is none, or names no instance")
    if not _CODE.fullmatch(tombstone.code) or not tombstone.reason or not tombstone.deleted_by:
        raise TombstoneError("the tombstone does not say who deleted, or why")
    for moment in filter(None, (tombstone.deleted_at, tombstone.until)):
        try:
            aware = datetime.fromisoformat(moment).tzinfo is not None
        except ValueError:
            aware = False
        if not aware:
            raise TombstoneError("a time of the tombstone is not RFC 3339 with a zone")
