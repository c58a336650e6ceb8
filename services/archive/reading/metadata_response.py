"""How a metadata blob goes out: as it is to whoever takes gzip, else unpacked, and not at all to whoever has it."""

import re

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.archive.reading.metadata import SeriesMetadata

_CODING = re.compile(r"([\w*.-]+)\s*(?:;\s*q\s*=\s*([\d.]+))?")


def metadata_response(request: Request, blob: SeriesMetadata, media_type: str) -> Response:
    """200 with the blob, or 304 (RFC 9110 13.1.2). Its plain form has a weak tag: the bytes differ, not the content."""
    gzipped = takes_gzip(", ".join(request.headers.getlist("accept-encoding")))
    headers = {
        "ETag": f'"{blob.etag}"' if gzipped else f'W/"{blob.etag}"',
        "Vary": "Accept, Accept-Encoding",
        "Cache-Control": "private, no-cache",
    }
    if f'"{blob.etag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if gzipped:
        headers["Content-Encoding"] = "gzip"
        return Response(blob.content, media_type=media_type, headers=headers)
    return StreamingResponse(blob.plain(), media_type=media_type, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header (RFC 9110 12.5.3) allows gzip."""
    found = {}
    for entry in accept_encoding.split(","):
        match = _CODING.fullmatch(entry.strip())
        if match:
            found[match[1].lower()] = match[2] is None or match[2].strip("0.") != ""
    return found.get("gzip", found.get("*", False))
