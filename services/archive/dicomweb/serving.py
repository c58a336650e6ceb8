"""What the DICOMweb routes share: the scope before each, the threads that read, the answer that is sent."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import READ, access_of
from services.archive.dicomweb import conditional
from services.archive.dicomweb.answer import Answer
from services.archive.dicomweb.multipart import Part
from services.archive.dicomweb.qido import checked_uid
from services.archive.dicomweb.wado import Retrieval
from services.archive.index.records import StoredInstance

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

BASE = "/dicom-web"
STUDY = BASE + "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"

# Reads that may have to work on a whole instance wait here, and leave the shared threads to probes and commits.
_READERS = CapacityLimiter(16)


def reading(path: str, handler: Handler) -> Route:
    """A GET route that demands the scope to read."""
    return Route(path, guarded(handler, READ), methods=["GET"])


def guarded(handler: Handler, scope: str) -> Handler:
    """The handler behind its scope. Starlette calls it only after `TokenDoor` let the request in."""

    async def guarded(request: Request) -> Response:
        access_of(request).require(scope)
        return await handler(request)

    return guarded


def uids(request: Request) -> tuple[str, str | None, str | None]:
    """Study, series and instance of the path, each checked. Raises `BadRequest`."""
    names = (("series", "SeriesInstanceUID"), ("instance", "SOPInstanceUID"))
    lower = [
        checked_uid(request.path_params[n], what) if n in request.path_params else None for n, what in names
    ]
    return checked_uid(request.path_params["study"], "StudyInstanceUID"), lower[0], lower[1]


def found_by(retrieval: Retrieval, request: Request) -> list[StoredInstance]:
    """The instances that the path names, of those that the caller may see. Raises `NotFound`."""
    study, series, instance = uids(request)
    return retrieval.find(access_of(request).institutions, study, series, instance)


def base_url(request: Request) -> str:
    """The absolute URL of the DICOMweb base, as the client reached it through the gateway."""
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
    return f"{scheme}://{request.url.netloc}{BASE}"


async def read(function: Callable[P, T], *asked: P.args, **named: P.kwargs) -> T:
    """Run a blocking read on one of the threads kept for it."""
    return await to_thread.run_sync(partial(function, *asked, **named), limiter=_READERS)


async def send(request: Request, answer: Answer) -> Response:
    """The answer, or 304 if the client has it, or the range that it asks for."""
    if answer.etag is not None and conditional.is_known(request.headers, answer.etag):
        return conditional.not_modified(answer.etag)
    section = conditional.section_of(request.headers, answer)
    if section is not None:
        first, last = section
        begun = await read(_begun, _cut(answer.parts[0], first, last))
        return conditional.partial_content(answer, first, last, begun.read())
    part = await read(_begun, answer.parts[0])
    return conditional.whole(replace(answer, parts=[part, *answer.parts[1:]]))


def _cut(part: Part, first: int, last: int) -> Part:
    assert part.section is not None  # noqa: S101 - `section_of` gave a range of it
    return replace(part, read=partial(part.section, first, last - first + 1))


def _begun(part: Part) -> Part:
    """The part with its first piece read: a store that is away, or an instance that cannot be written as
    asked, is told by the status. What fails later can only end the body before its last boundary."""
    pieces = iter(part.read())
    first = next(pieces, b"")
    return replace(part, read=lambda: chain([first], pieces))
