"""What a pack says of itself (docs/contracts.md, section 5): canonical JSON, strictly read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

from services.packs.frames import Ranges
from services.packs.instance import Identity, InstanceError, check_uid

FORMAT = 1

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HEX = re.compile(r"[0-9a-f]{64}")


class PackError(ValueError):
    """Bytes that are not the pack they claim to be: no pack, cut short, altered, or of a later format."""


def check_label(value: str, what: str) -> str:
    """`value` if it can name an institution, site or region: a lower-case DNS label. Raises `PackError`."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise PackError(
            f"{what} {str(value)[:80]!r} is no lower-case DNS label (a-z, 0-9 and '-', 1 to 63 characters)"
        )
    return value


@dataclass(frozen=True, slots=True)
class PackedInstance:
    """One instance in a pack. `offset` counts from the pack's start, every other offset from `offset`."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    transfer_syntax: str
    offset: int
    length: int
    data_offset: int
    digest: str
    pixel_digest: str
    pixel_offset: int
    pixel_length: int
    frames: Ranges
    received_at: str
    calling_ae: str
    called_ae: str


@dataclass(frozen=True, slots=True)
class Footer:
    """What a pack says of itself; enough to rebuild the index from packs alone.

    `content_digest` is the SHA-256 of all instances' bytes: an instance's own digest leaves its head out.
    """

    region: str
    institution: str
    site: str
    study_uid: str
    sealed_at: str
    key_id: str | None
    content_digest: str
    instances: tuple[PackedInstance, ...]

    def encode(self) -> bytes:
        """Canonical JSON: UTF-8, sorted keys, no spaces."""
        return _canonical({"format": FORMAT, **asdict(self)})

    @property
    def pack_id(self) -> str:
        """SHA-256 of the encoded footer, lower-case hex."""
        return sha256(self.encode()).hexdigest()

    @property
    def key(self) -> str:
        """The pack's key in an object store."""
        return pack_key(self.institution, self.pack_id)

    def identities(self) -> Iterable[tuple[Identity, str]]:
        """Identity and digest of each instance, in the order of the pack."""
        return ((Identity(self.institution, i.sop_instance_uid), i.digest) for i in self.instances)

    @classmethod
    def decode(cls, encoded: bytes) -> Footer:
        """The footer these bytes encode. Raises `PackError` for all but the canonical form of format 1."""
        try:
            document = json.loads(encoded)
        except (ValueError, RecursionError):
            raise PackError("the pack's footer is not JSON") from None
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise PackError(
                f"the pack's footer is not of format {FORMAT}: a newer version wrote it, or nothing of ours"
            )
        entries = document.get("instances")
        if not isinstance(entries, list):
            raise PackError("the pack's footer lists no instances")
        _check_fields(document, cls, "footer")
        document["instances"] = tuple(_decode_instance(entry) for entry in entries)
        for name in ("region", "institution", "site"):
            check_label(document[name], name)
        if not _HEX.fullmatch(document["content_digest"]):
            raise PackError("content_digest in the pack's footer is not 64 lower-case hexadecimal digits")
        try:
            check_uid(document["study_uid"], "study_uid")
        except InstanceError as error:
            raise PackError(str(error)) from None
        footer = cls(**document)
        if footer.encode() != encoded:
            raise PackError("the pack's footer is not in canonical form")
        return footer


def pack_key(institution: str, pack_id: str) -> str:
    """`packs/<institution>/<first two of id>/<id>.pack`. Raises `PackError` for no label or no id."""
    if not _HEX.fullmatch(pack_id):
        raise PackError(f"pack id {pack_id[:80]!r} is not 64 lower-case hexadecimal digits")
    return f"packs/{check_label(institution, 'institution')}/{pack_id[:2]}/{pack_id}.pack"


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def _check_fields(document: dict[str, Any], model: type, what: str) -> None:
    """Exactly the model's fields, each of the type its annotation names."""
    expected = {field.name: str(field.type) for field in fields(model)}
    if document.keys() != expected.keys():
        odd = ", ".join(sorted(document.keys() ^ expected.keys()))
        raise PackError(f"the pack's {what} lacks or adds: {odd[:200]}")
    for name, kind in expected.items():
        value = document[name]
        if kind == "int" and not (type(value) is int and 0 <= value < 1 << 63):
            raise PackError(f"{name} in the pack's {what} is no byte count")
        if kind == "str" and not isinstance(value, str):
            raise PackError(f"{name} in the pack's {what} is no text")
        if kind == "str | None" and not (value is None or isinstance(value, str)):
            raise PackError(f"{name} in the pack's {what} is neither text nor null")


def _decode_instance(entry: object) -> PackedInstance:
    if not isinstance(entry, dict):
        raise PackError("an instance in the pack's footer is no object")
    _check_fields(entry, PackedInstance, "instance")
    try:
        for name in ("sop_instance_uid", "sop_class_uid", "series_uid", "transfer_syntax"):
            check_uid(entry[name], name)
    except InstanceError as error:
        raise PackError(str(error)) from None
    if not _HEX.fullmatch(entry["digest"]) or not _HEX.fullmatch(entry["pixel_digest"] or "0" * 64):
        raise PackError("a digest in the pack's footer is not 64 lower-case hexadecimal digits")
    ranges = entry["frames"]
    if not isinstance(ranges, list) or not all(_is_range(item, entry["length"]) for item in ranges):
        raise PackError("a frame range in the pack's footer lies outside its instance")
    return PackedInstance(**{**entry, "frames": tuple((offset, length) for offset, length in ranges)})


def _is_range(item: object, size: int) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 2
        and all(type(number) is int and number >= 0 for number in item)
        and item[0] + item[1] <= size
    )
