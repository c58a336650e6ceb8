"""The status of a response as pynetdicom takes it from a handler (PS3.7 annex C)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

_COMMENT_CHARACTERS = 64


def status_of(
    status: int, comment: str = "", *, error_id: int | None = None, tags: Sequence[str] = ()
) -> Dataset:
    """Status with Error Comment, Error ID and Attribute Identifier List, as far as there is something to say."""
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment_of(comment)
    if error_id is not None:
        answer.ErrorID = error_id
    if tags:
        answer.AttributeIdentifierList = [int(tag, 16) for tag in tags]
    return answer


def comment_of(text: str) -> str:
    """`text` as Error Comment (0000,0902): LO, so at most 64 characters and no backslash. Its end goes first."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/")
    return plain if len(plain) <= _COMMENT_CHARACTERS else plain[: _COMMENT_CHARACTERS - 3] + "..."
