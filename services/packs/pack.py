"""Packs: one study's instances back to back and a footer that describes them (docs/contracts.md, section 5).

    "PACSPK01" | Part 10 files | footer, canonical JSON | u64 its length | its SHA-256 | "PACSEND1"

A pack is immutable and named by the SHA-256 of its footer, whose content digest covers every byte before it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO

from services.common.clock import rfc3339
from services.packs.file_meta import PREAMBLE
from services.packs.footer import FORMAT, Footer, PackedInstance, PackError, check_label, pack_key
from services.packs.instance import Instance, InstanceError, Limits, check_uid, scan

__all__ = [
    "FORMAT",
    "Footer",
    "PackError",
    "PackWriter",
    "PackedInstance",
    "check_label",
    "footer_of",
    "pack_key",
    "read_footer",
    "sha256_of",
    "verify",
]

MAGIC = b"PACSPK01"
END = b"PACSEND1"
TRAILER = struct.Struct("<Q32s8s")
MAX_FOOTER_BYTES = 256 << 20

# What the footer repeats of a scan; the study is said once for all.
_SCANNED = tuple(field.name for field in fields(Instance) if field.name != "study_uid")


class PackWriter:
    """Writes a pack to a stream in one pass. The caller makes the file durable."""

    def __init__(
        self,
        stream: BinaryIO,
        *,
        region: str,
        institution: str,
        site: str,
        study_uid: str,
        key_id: str | None = None,
    ) -> None:
        self._stream = stream
        self._region, self._institution, self._site = (
            check_label(region, "region"), check_label(institution, "institution"), check_label(site, "site"),
        )  # fmt: skip
        self._study_uid, self._key_id = check_uid(study_uid, "study_uid"), key_id
        self._instances: list[PackedInstance] = []
        self._position = len(MAGIC)
        self._content = sha256()
        stream.write(MAGIC)

    def add(
        self,
        body: bytes | memoryview,
        instance: Instance,
        *,
        received_at: str,
        calling_ae: str,
        called_ae: str,
    ) -> PackedInstance:
        """Append one instance; `instance` is what `scan` says of `body`, and of this study.

        It is kept as it is but for its preamble, which becomes zero: it means nothing in DICOM, but a program
        hidden in it has one elsewhere (PS3.10 7.5).
        """
        if instance.study_uid != self._study_uid or instance.length != len(body):
            raise ValueError(f"instance {instance.sop_instance_uid} does not belong into this pack")
        entry = PackedInstance(
            **{name: getattr(instance, name) for name in _SCANNED},
            offset=self._position,
            received_at=received_at,
            calling_ae=calling_ae,
            called_ae=called_ae,
        )
        for part in (PREAMBLE, memoryview(body)[len(PREAMBLE) :]):
            self._stream.write(part)
            self._content.update(part)
        self._position += len(body)
        self._instances.append(entry)
        return entry

    def finish(self, sealed_at: datetime) -> Footer:
        """Write the footer and trailer; the pack is then complete."""
        footer = Footer(
            self._region, self._institution, self._site, self._study_uid,
            rfc3339(sealed_at), self._key_id, self._content.hexdigest(), tuple(self._instances),
        )  # fmt: skip
        encoded = footer.encode()
        self._stream.write(encoded)
        self._stream.write(TRAILER.pack(len(encoded), sha256(encoded).digest(), END))
        return footer


def read_footer(read: Callable[[int, int], bytes], size: int) -> Footer:
    """The footer of a pack of `size` bytes, reached through `read(offset, length)`: a file, or a range GET.

    Checks the footer's own digest and that the instances lie back to back before it, not the instances'
    bytes: that is `verify`. Raises `PackError`.
    """
    if size < len(MAGIC) + TRAILER.size:
        raise PackError(f"{size} bytes are too few for a pack")
    length, expected, end = TRAILER.unpack(read(size - TRAILER.size, TRAILER.size))
    if end != END:
        raise PackError("the pack does not end with its end mark: it was cut short, or it is no pack")
    start = size - TRAILER.size - length
    if start < len(MAGIC) or length > MAX_FOOTER_BYTES:
        raise PackError(f"the pack declares a footer of {length} bytes, which cannot be")
    encoded = read(start, length)
    if sha256(encoded).digest() != expected:
        raise PackError("the pack's footer is altered: its SHA-256 differs")
    footer = Footer.decode(encoded)
    position = len(MAGIC)
    for entry in footer.instances:
        if entry.offset != position:
            raise PackError(f"instance {entry.sop_instance_uid} does not lie where the one before it ends")
        position += entry.length
    if position != start or not footer.instances:
        raise PackError("the pack's instances do not fill it up to the footer")
    return footer


def footer_of(path: Path) -> Footer:
    """`read_footer` of a file."""
    with path.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return read_footer(read, path.stat().st_size)


def verify(path: Path, limits: Limits | None = None) -> Footer:
    """Check every byte of a pack file: each instance is scanned anew and must be what the footer says.

    Raises `PackError`; what it returns may be indexed without trust in who wrote the pack.
    """
    size = path.stat().st_size
    if size < len(MAGIC) + TRAILER.size:
        raise PackError(f"{size} bytes are too few for a pack")
    with path.open("rb") as file:
        # Not closed by hand: an error that is on its way up may still hold a view of it.
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if content[: len(MAGIC)] != MAGIC:
        raise PackError("the file does not start as a pack")
    footer = read_footer(lambda offset, length: bytes(content[offset : offset + length]), size)
    end = footer.instances[-1].offset + footer.instances[-1].length
    if sha256(content[len(MAGIC) : end]).hexdigest() != footer.content_digest:
        raise PackError("the pack's instances are altered: their SHA-256 differs")
    for entry in footer.instances:
        _verify_instance(content[entry.offset : entry.offset + entry.length], entry, footer.study_uid, limits)
    return footer


def sha256_of(path: Path) -> str:
    """SHA-256 of a whole file, lower-case hex: what an object store is told to expect."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _verify_instance(body: memoryview, entry: PackedInstance, study_uid: str, limits: Limits | None) -> None:
    if body[: len(PREAMBLE)] != PREAMBLE:
        raise PackError(f"instance {entry.sop_instance_uid} has a preamble, which no writer of ours leaves")
    try:
        instance = scan(body, limits)
    except InstanceError as error:
        raise PackError(f"instance {entry.sop_instance_uid} is damaged: {error}") from None
    differing = [name for name in _SCANNED if getattr(instance, name) != getattr(entry, name)]
    if instance.study_uid != study_uid:
        differing.append("study_uid")
    if differing:
        raise PackError(
            f"instance {entry.sop_instance_uid} is not what the footer says: {', '.join(differing)}"
        )
