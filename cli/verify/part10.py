"""DICOM files as bytes: what was sent, what came back, and the digest that compares them.

Deliberately written apart from the services: a check that used the archive's own reader
would share its mistakes. Contracts section 3 defines the digest.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset


class NotPart10Error(ValueError):
    """Bytes that are not a DICOM file of PS3.10; the text says where they stop being one."""


@dataclass(frozen=True)
class Part10:
    """A file split at the end of group 2: its transfer syntax UID, and the data set's bytes as they lie."""

    transfer_syntax: str
    data_set: bytes

    @classmethod
    def parse(cls, content: bytes) -> Part10:
        """Split a file (PS3.10 7.1): preamble, `DICM`, (0002,0000) UL, meta elements, data set.

        Raises NotPart10Error where the prefix or the group length is missing or reaches past the end.
        """
        if content[128:132] != b"DICM":
            raise NotPart10Error(f"no DICM prefix at byte 128 of {len(content)} bytes")
        if content[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
            raise NotPart10Error("file meta information does not begin with (0002,0000) UL")
        end = 144 + int.from_bytes(content[140:144], "little")
        if end > len(content):
            raise NotPart10Error(f"group length ends at byte {end} of {len(content)}")
        meta = dcmread(io.BytesIO(content[:end])).file_meta
        return cls(str(meta.TransferSyntaxUID), content[end:])

    @property
    def digest(self) -> str:
        """SHA-256 over transfer syntax, a zero byte and the data set, in hex (contracts section 3)."""
        return hashlib.sha256(self.transfer_syntax.encode("ascii") + b"\0" + self.data_set).hexdigest()


def write_part10(ds: Dataset, path: Path) -> Part10:
    """Write `ds` in the transfer syntax its file meta names and return the bytes' digest and data set."""
    ds.save_as(path, enforce_file_format=True)
    return Part10.parse(path.read_bytes())


def multipart_parts(content_type: str, body: bytes) -> list[bytes]:
    """The parts of a multipart/related answer (RFC 2387, RFC 2046 5.1.1), headers cut off.

    Works on the raw bytes: a parser for mail would take line ends of binary parts for its own.
    Raises ValueError where the answer is not multipart or its last boundary is missing (cut off).
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise ValueError(f"expected multipart/related with a boundary, got {content_type!r}")
    delimiter = b"\r\n--" + boundary.encode("ascii")
    pieces = (b"\r\n" + body).split(delimiter)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the closing boundary is missing: the answer was cut off")
    parts = []
    for piece in pieces[1:-1]:
        head, separator, content = piece.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError(f"a part has no end of headers: {head[:80]!r}")
        parts.append(content)
    return parts
