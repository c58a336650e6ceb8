"""Conditional and range requests (RFC 9110 13 and 14) for answers that are one body with a validator."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from services.archive.dicomweb.answer import Answer
from services.archive.dicomweb.multipart import Part, multipart_response
from services.common.errors import PacsError

# Answers depend on who asks: a cache may keep them for this user alone, and asks again each time.
_CACHED = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class RangeNotSatisfiable(PacsError):
    """The range begins behind the end."""

    status, title, slug = 416, "Range not satisfiable", "range-not-satisfiable"


def is_known(headers: Headers, etag: str | None) -> bool:
    """Whether the client has these bytes already (If-None-Match, RFC 9110 13.1.2)."""
    asked = headers.get("if-none-match")
    if asked is None or etag is None:
        return False
    known = {one.strip().removeprefix("W/") for one in asked.split(",")}
    return asked.strip() == "*" or etag in known


def not_modified(etag: str) -> Response:
    """304 with the validator (RFC 9110 15.4.5)."""
    return Response(status_code=304, headers={"ETag": etag, **_CACHED})


def whole(answer: Answer) -> Response:
    """The answer as asked; multipart bodies have a boundary of their own each time, so their validator is weak."""
    if answer.multipart:
        response: Response = multipart_response(answer.parts, answer.part_type)
        etag = f"W/{answer.etag}"
    else:
        part = answer.parts[0]
        response = StreamingResponse(part.read(), media_type=part.content_type)
        if part.length is not None:
            response.headers["Content-Length"] = str(part.length)
        if part.section is not None:
            response.headers["Accept-Ranges"] = "bytes"
        etag = str(answer.etag)
    if answer.etag is not None:
        response.headers["ETag"] = etag
    response.headers.update(_CACHED)
    return response


def section_of(headers: Headers, answer: Answer) -> tuple[int, int] | None:
    """The one range that is asked for and can be given: its first and last byte. Raises `RangeNotSatisfiable`.

    None: answer the whole, as for several ranges at once, or an If-Range that names other bytes.
    """
    asked = headers.get("range")
    part = answer.parts[0]
    if asked is None or answer.multipart or part.section is None or part.length is None:
        return None
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or found[1] == found[2] == "" or headers.get("if-range") not in (None, answer.etag):
        return None
    if found[1] == "":
        first, last = max(0, part.length - int(found[2])), part.length - 1
    else:
        first, last = int(found[1]), min(int(found[2] or part.length), part.length - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= part.length:
        raise RangeNotSatisfiable(
            f"The content has {part.length} bytes.", action=f"Ask for bytes 0 to {part.length - 1}."
        )
    return first, last


def partial_content(answer: Answer, first: int, last: int, pieces: Iterable[bytes]) -> Response:
    """206 with one range (RFC 9110 15.3.7)."""
    part: Part = answer.parts[0]
    headers = {
        "Content-Length": str(last - first + 1),
        "Content-Range": f"bytes {first}-{last}/{part.length}",
        "Accept-Ranges": "bytes",
        **_CACHED,
    }
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    return StreamingResponse(pieces, status_code=206, media_type=part.content_type, headers=headers)
