"""DELETE on the DICOMweb resources: what may be deleted, by whom, and the tombstone that says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.archive.access import Access
from services.archive.ports import Index
from services.archive.tombstones.burial import Burial
from services.archive.tombstones.document import MAX_REASON_CHARACTERS, Target, Tombstone
from services.archive.tombstones.reasons import REASONS, outlasts_resend
from services.common.clock import Clock, rfc3339
from services.common.errors import BadRequest, Forbidden, NotFound

MAX_BODY_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Wish:
    """The body of a DELETE: why, by which code, and of whose study."""

    reason: str
    code: str
    institution: str | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion did."""

    document_id: str
    instances: int


class Deletion:
    """Deletes studies, series and instances of one institution at a time."""

    def __init__(self, index: Index, burial: Burial, clock: Clock, *, region: str, site: str) -> None:
        self._index, self._burial, self._clock = index, burial, clock
        self._region, self._site = region, site

    def delete(self, access: Access, wish: Wish, target: Target) -> Deleted:
        """Hide what `target` names from every query and retrieval; durable on return.

        Raises `Forbidden`, `BadRequest`, `NotFound` (also for what the caller may not see), and what
        `Burial.bury` raises.
        """
        institution = institution_of(access, wish.institution)
        newest = self._index.newest_received(institution, target)
        if newest is None:
            raise NotFound(
                "There is no such study, series or instance.", action="Search for it with QIDO-RS."
            )
        now = self._clock.now()
        tombstone = Tombstone(
            region=self._region,
            institution=institution,
            site=self._site,
            code=wish.code,
            reason=wish.reason,
            deleted_by=access.subject,
            deleted_at=rfc3339(now),
            # A site's clock may be ahead of ours: what is there now is what is deleted.
            until=None if outlasts_resend(wish.code) else rfc3339(max(now, newest)),
            origin="dicomweb",
            targets=(target,),
        )
        return Deleted(tombstone.document_id, self._burial.bury(tombstone))


def institution_of(access: Access, named: str | None) -> str:
    """Whose data are meant: the one that is named, or the token's only one. Raises `BadRequest`, `Forbidden`."""
    if named is not None:
        if not access.may_store_for(named):
            raise Forbidden(
                f"The token is not for the institution {named[:63]!r}.",
                action="Ask for a token of this institution.",
            )
        return named
    if access.institutions is None or len(access.institutions) != 1:
        raise BadRequest(
            "The token is for several institutions, and the body names none.",
            action='Add "institution" to the body.',
        )
    return next(iter(access.institutions))


def read_wish(body: bytes) -> Wish:
    """The JSON body of a DELETE. Raises `BadRequest`."""
    document = read_object(body)
    wish = Wish(
        reason=text_of(document, "reason", MAX_REASON_CHARACTERS) or "",
        code=text_of(document, "code", 16) or "",
        institution=text_of(document, "institution", 63),
    )
    if document.keys() - {"reason", "code", "institution"}:
        raise BadRequest("The body has a field that is not known.", action="Give reason, code, institution.")
    if not wish.reason.strip():
        raise BadRequest(
            "The body gives no reason.", action='Send JSON: {"reason": "why it is deleted"}. It is kept.'
        )
    if wish.code and wish.code not in REASONS:
        raise BadRequest(
            "The code is none of a rejection.", action=f"Leave it away, or give one of {', '.join(REASONS)}."
        )
    return wish


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises `BadRequest`."""
    refuse: Callable[[], BadRequest] = lambda: BadRequest(  # noqa: E731 - said twice below
        "The body is no JSON object.", action='Send JSON: {"reason": "..."}.'
    )
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise refuse() from None
    if not isinstance(document, dict):
        raise refuse()
    return document


def text_of(document: dict[str, Any], name: str, most: int) -> str | None:
    """A text field, None where it is absent. Raises `BadRequest`."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most or "\0" in value or not _is_unicode(value):
        raise BadRequest(f"{name} is no text of at most {most} characters.", action="Correct the body.")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
