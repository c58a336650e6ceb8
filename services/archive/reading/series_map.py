"""Where the bytes of a series lie, in the lines that the gateway's `series_maps.lua` reads (contracts, section 22).

    pacs-map 1 <version> <expires> <instances>
    P <target> <SSE-C key, or -> <its MD5, or ->
    I <SOP instance UID> <number of its P line, from 1> <offset> <length> <transfer syntax> <tag> <pixels> <frames>

Offsets count from the start of the object. `pixels` is `<offset>:<length>` where the value of the pixel data can
be given as it lies, else `-`. `frames` is `-` where frames need work, `=<offset>:<length>:<count>` where they lie
back to back with one length, else `@` and 10 hexadecimal digits of offset and 8 of length for each.
`version` names all of this but the signatures; `tag` names the instance's bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydicom.uid import ExplicitVRBigEndian

from services.archive.index.records import StoredInstance
from services.archive.reading.signing import CUSTOMER, ObjectSigner, SignedGet
from services.archive.rendering.syntaxes import is_encapsulated

MAX_LISTED_FRAMES = 10_000
"""Frames of unequal lengths that a line names; an instance with more of them is read through the archive."""


def write_map(view: str, instances: Sequence[StoredInstance], signer: ObjectSigner) -> tuple[str, str]:
    """The map of `instances` in their order, and its version. `view` is for whom it holds."""
    packs: dict[tuple[str, str | None], int] = {}
    lines = [_line(one, packs.setdefault((one.object_key, one.key_id), len(packs) + 1)) for one in instances]
    named = [f"{key} {key_id or '-'}" for key, key_id in packs]
    version = hashlib.sha256("\n".join([view, *named, *lines]).encode()).hexdigest()[:32]
    signed = [signer.sign(key, key_id) for key, key_id in packs]
    expires = min(one.expires for one in signed)
    head = f"pacs-map 1 {version} {expires} {len(lines)}"
    return "\n".join([head, *map(_pack, signed), *lines, ""]), version


def _pack(signed: SignedGet) -> str:
    key, md5 = (signed.headers.get(CUSTOMER + name, "-") for name in ("key", "key-md5"))
    return f"P {signed.target} {key} {md5}"


def _line(one: StoredInstance, pack: int) -> str:
    tag = hashlib.sha256(f"{one.object_key}:{one.offset}:{one.length}".encode()).hexdigest()[:32]
    return (
        f"I {one.sop_instance_uid} {pack} {one.offset} {one.length} {one.transfer_syntax} {tag}"
        f" {_pixels(one)} {_frames(one)}"
    )


def _pixels(one: StoredInstance) -> str:
    if (
        is_encapsulated(one.transfer_syntax)
        or one.transfer_syntax == ExplicitVRBigEndian
        or not one.pixel_length
    ):
        return "-"
    return f"{one.offset + one.pixel_offset}:{one.pixel_length}"


def _frames(one: StoredInstance) -> str:
    if not one.frames or not all(size for _, size in one.frames):
        return "-"
    first, length = one.frames[0]
    if all(frame == (first + n * length, length) for n, frame in enumerate(one.frames)):
        return f"={one.offset + first}:{length}:{len(one.frames)}"
    if len(one.frames) > MAX_LISTED_FRAMES or any(
        one.offset + offset >= 1 << 40 or size >= 1 << 32 for offset, size in one.frames
    ):
        return "-"
    return "@" + "".join(f"{one.offset + offset:010x}{size:08x}" for offset, size in one.frames)
