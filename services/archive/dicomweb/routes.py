"""The DICOMweb routes: HTTP in, a service's answer out. Each names the scope that it demands."""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from services.archive.access import READ, STORE, access_of
from services.archive.dicomweb import qido
from services.archive.dicomweb.accept import DICOM, accepted, json_type
from services.archive.dicomweb.multipart import Part, boundary_of, multipart_response
from services.archive.dicomweb.qido import checked_uid
from services.archive.dicomweb.stow import StoreService, response_document, warning_of
from services.archive.dicomweb.wado import Answer, Retrieval, frame_numbers
from services.archive.index.query import Level
from services.archive.index.records import Conflict, StoredInstance
from services.archive.ports import Index
from services.common.clock import rfc3339
from services.common.errors import NotFound

P = ParamSpec("P")
T = TypeVar("T")
BASE = "/dicom-web"
STUDY = BASE + "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
# PS3.18 8.3.4.4 and 8.3.4.2 give these texts.
_MORE = '299 pacs "The number of results exceeded the maximum. Additional results can be requested."'
_LITERAL = (
    '299 pacs "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
)

# Reads that may have to work on a whole instance wait here, and leave the shared threads to probes and commits.
_READERS = CapacityLimiter(16)

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class DicomWeb:
    """The services behind the routes of docs/contracts.md, section 10."""

    index: Index
    retrieval: Retrieval
    storing: StoreService

    def routes(self) -> list[Route]:
        return [
            _get(BASE + "/studies", _search(self.index, Level.STUDY)),
            _get(BASE + "/series", _search(self.index, Level.SERIES)),
            _get(BASE + "/instances", _search(self.index, Level.INSTANCE)),
            _get(STUDY + "/series", _search(self.index, Level.SERIES)),
            _get(STUDY + "/instances", _search(self.index, Level.INSTANCE)),
            _get(SERIES + "/instances", _search(self.index, Level.INSTANCE)),
            _get(STUDY, self.instances),
            _get(SERIES, self.instances),
            _get(INSTANCE, self.instances),
            _get(STUDY + "/metadata", self.metadata),
            _get(SERIES + "/metadata", self.metadata),
            _get(INSTANCE + "/metadata", self.metadata),
            _get(INSTANCE + "/frames/{frames}", self.frames),
            _get(INSTANCE + "/bulkdata/{path:path}", self.bulk_data),
            _get(STUDY + "/conflicts", self.conflicts),
            _get(INSTANCE + "/versions/{digest}", self.version),
            Route(BASE + "/studies", _guarded(self.store, STORE), methods=["POST"]),
            Route(STUDY, _guarded(self.store, STORE), methods=["POST"]),
        ]

    async def instances(self, request: Request) -> Response:
        """WADO-RS study, series, instance (PS3.18 10.4.1.1)."""
        found = await run_in_threadpool(self._find, request)
        return await _send(self.retrieval.instances(found, accepted(request)))

    async def metadata(self, request: Request) -> Response:
        """WADO-RS metadata (PS3.18 10.4.1.1.2): the ready objects, one after the other."""
        found = await run_in_threadpool(self._find, request)
        media_type = json_type(request)
        pieces = self.retrieval.metadata(found)
        # The first batch is read before the answer starts, so that an index that is away is a 503.
        first = await run_in_threadpool(next, pieces)

        def body() -> Iterator[bytes]:
            yield first
            yield from pieces

        return StreamingResponse(body(), media_type=media_type)

    async def frames(self, request: Request) -> Response:
        """WADO-RS frames (PS3.18 10.4.1.1.6)."""
        numbers = frame_numbers(request.path_params["frames"])
        stored = await run_in_threadpool(self._find_one, request)
        return await _send(await _read(self.retrieval.frames, stored, numbers, accepted(request)))

    async def bulk_data(self, request: Request) -> Response:
        """WADO-RS bulk data (PS3.18 10.4.1.1.5) at the paths that our metadata names."""
        stored = await run_in_threadpool(self._find_one, request)
        path = request.path_params["path"].upper()
        return await _send(await _read(self.retrieval.bulk_data, stored, path, accepted(request)))

    async def conflicts(self, request: Request) -> Response:
        """Versions kept beside the first of an instance: same identity, other digest."""
        found = await run_in_threadpool(self._conflicts, request)
        return Response(json.dumps([_conflict(one) for one in found]), media_type="application/json")

    async def version(self, request: Request) -> Response:
        """One of these versions as a Part 10 file, by its digest."""
        for one in await run_in_threadpool(self._conflicts, request):
            stored = one.instance
            if (
                stored.sop_instance_uid == request.path_params["instance"]
                and stored.digest == request.path_params["digest"]
            ):
                return await _send(self.retrieval.instances([stored], accepted(request)))
        raise NotFound("There is no such version.", action="List them with /conflicts of the study.")

    async def store(self, request: Request) -> Response:
        """STOW-RS (PS3.18 10.5)."""
        study = request.path_params.get("study")
        study_uid = checked_uid(study, "StudyInstanceUID") if study is not None else None
        boundary = boundary_of(request.headers.get("content-type", ""), DICOM)
        media_type = json_type(request)
        institution = self.storing.institution_for(access_of(request))
        result = await self.storing.store(request.stream().__aiter__(), boundary, institution, study_uid)
        document = response_document(result, base_url(request), study_uid)
        warning = warning_of(result)
        headers = {"Warning": warning} if warning is not None else None
        return Response(document, status_code=result.status, media_type=media_type, headers=headers)

    def _find(self, request: Request) -> list[StoredInstance]:
        study, series, instance = _uids(request)
        return self.retrieval.find(access_of(request).institutions, study, series, instance)

    def _find_one(self, request: Request) -> StoredInstance:
        return self._find(request)[0]

    def _conflicts(self, request: Request) -> list[Conflict]:
        study, _, _ = _uids(request)
        return self.index.conflicts(access_of(request).institutions, study)


def base_url(request: Request) -> str:
    """The absolute URL of the DICOMweb base, as the client reached it through the gateway."""
    scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
    return f"{scheme}://{request.url.netloc}{BASE}"


def _search(index: Index, level: Level) -> Handler:
    async def search(request: Request) -> Response:
        media_type = json_type(request)
        asked = qido.read_search(
            level,
            request.query_params.multi_items(),
            access_of(request),
            study_uid=request.path_params.get("study"),
            series_uid=request.path_params.get("series"),
        )
        answers, more = await run_in_threadpool(qido.search, index, asked, base_url(request))
        response = (
            Response(b"[" + b",".join(answers) + b"]", media_type=media_type)
            if answers
            else Response(status_code=204)
        )
        for warning in [_MORE] * more + [_LITERAL] * asked.fuzzy:
            response.headers.append("Warning", warning)
        return response

    return search


def _get(path: str, handler: Handler) -> Route:
    return Route(path, _guarded(handler, READ), methods=["GET"])


def _guarded(handler: Handler, scope: str) -> Handler:
    """The handler behind its scope. Starlette calls it only after `TokenDoor` let the request in."""

    async def guarded(request: Request) -> Response:
        access_of(request).require(scope)
        return await handler(request)

    return guarded


def _uids(request: Request) -> tuple[str, str | None, str | None]:
    names = (("series", "SeriesInstanceUID"), ("instance", "SOPInstanceUID"))
    lower = [
        checked_uid(request.path_params[n], what) if n in request.path_params else None for n, what in names
    ]
    return checked_uid(request.path_params["study"], "StudyInstanceUID"), lower[0], lower[1]


async def _read(function: Callable[P, T], *asked: P.args, **named: P.kwargs) -> T:
    return await to_thread.run_sync(partial(function, *asked, **named), limiter=_READERS)


async def _send(answer: Answer) -> Response:
    part = await _read(_begun, answer.parts[0])
    if answer.multipart:
        return multipart_response([part, *answer.parts[1:]], answer.part_type)
    headers = {"Content-Length": str(part.length)} if part.length is not None else None
    return StreamingResponse(part.read(), media_type=part.content_type, headers=headers)


def _begun(part: Part) -> Part:
    """The part with its first piece read: a store that is away, or an instance that cannot be written as
    asked, is told by the status. What fails later can only end the body before its last boundary."""
    pieces = iter(part.read())
    first = next(pieces, b"")
    return replace(part, read=lambda: chain([first], pieces))


def _conflict(one: Conflict) -> dict[str, str]:
    stored = one.instance
    return {
        "institution": stored.institution, "site": stored.site, "study_uid": stored.study_uid,
        "series_uid": stored.series_uid, "sop_instance_uid": stored.sop_instance_uid, "digest": stored.digest,
        "first_digest": one.first_digest, "received_at": rfc3339(one.received_at),
        "url": f"{BASE}/studies/{stored.study_uid}/series/{stored.series_uid}"
               f"/instances/{stored.sop_instance_uid}/versions/{stored.digest}",
    }  # fmt: skip
