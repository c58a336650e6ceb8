"""The DICOMweb routes: HTTP in, a service's answer out. Each names the scope that it demands."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from services.archive.access import STORE, access_of
from services.archive.dicomweb import qido
from services.archive.dicomweb.accept import DICOM, accepted, json_type
from services.archive.dicomweb.bulk_data import BulkData
from services.archive.dicomweb.frames import Frames, frame_numbers
from services.archive.dicomweb.multipart import boundary_of
from services.archive.dicomweb.qido import checked_uid
from services.archive.dicomweb.rendered import Rendered
from services.archive.dicomweb.rendered_routes import RenderedRoutes
from services.archive.dicomweb.serving import (
    BASE,
    INSTANCE,
    SERIES,
    STUDY,
    Handler,
    base_url,
    found_by,
    guarded,
    read,
    reading,
    send,
    uids,
)
from services.archive.dicomweb.stow import StoreService, response_document, warning_of
from services.archive.dicomweb.wado import Retrieval
from services.archive.index.query import Level
from services.archive.index.records import Conflict
from services.archive.ports import Index, ObjectStore
from services.archive.reading.metadata_response import metadata_response
from services.archive.rendering.service import Rendering
from services.common.clock import rfc3339
from services.common.errors import NotFound

# PS3.18 8.3.4.4 gives this text.
_MORE = '299 pacs "The number of results exceeded the maximum. Additional results can be requested."'


@dataclass(frozen=True, slots=True)
class DicomWeb:
    """The services behind the routes of docs/contracts.md, section 10."""

    index: Index
    retrieval: Retrieval
    frames_of: Frames
    bulk_data_of: BulkData
    pictures: RenderedRoutes
    storing: StoreService

    @classmethod
    def of(cls, store: ObjectStore, index: Index, rendering: Rendering, storing: StoreService) -> Self:
        """All of DICOMweb over these."""
        retrieval, frames = Retrieval(store, index, rendering), Frames(store, rendering)
        pictures = RenderedRoutes(retrieval, Rendered(rendering))
        return cls(index, retrieval, frames, BulkData(store, frames, rendering), pictures, storing)

    def routes(self) -> list[Route]:
        return [
            reading(BASE + "/studies", _search(self.index, Level.STUDY)),
            reading(BASE + "/series", _search(self.index, Level.SERIES)),
            reading(BASE + "/instances", _search(self.index, Level.INSTANCE)),
            reading(STUDY + "/series", _search(self.index, Level.SERIES)),
            reading(STUDY + "/instances", _search(self.index, Level.INSTANCE)),
            reading(SERIES + "/instances", _search(self.index, Level.INSTANCE)),
            reading(STUDY, self.instances),
            reading(SERIES, self.instances),
            reading(INSTANCE, self.instances),
            reading(STUDY + "/metadata", self.metadata),
            reading(SERIES + "/metadata", self.metadata),
            reading(INSTANCE + "/metadata", self.metadata),
            reading(INSTANCE + "/frames/{frames}", self.frames),
            reading(INSTANCE + "/bulkdata/{path:path}", self.bulk_data),
            *self.pictures.routes(),
            reading(STUDY + "/conflicts", self.conflicts),
            reading(INSTANCE + "/versions/{digest}", self.version),
            Route(BASE + "/studies", guarded(self.store, STORE), methods=["POST"]),
            Route(STUDY, guarded(self.store, STORE), methods=["POST"]),
        ]

    async def instances(self, request: Request) -> Response:
        """WADO-RS study, series, instance (PS3.18 10.4.1.1)."""
        found = await run_in_threadpool(found_by, self.retrieval, request)
        return await send(request, self.retrieval.instances(found, accepted(request)))

    async def metadata(self, request: Request) -> Response:
        """WADO-RS metadata (PS3.18 10.4.1.1.2): the ready objects, one after the other."""
        study, series, instance = uids(request)
        media_type = json_type(request)
        if series is not None and instance is None:
            institutions = access_of(request).institutions
            blob = await run_in_threadpool(self.index.series_metadata, institutions, study, series)
            if blob is not None:
                return metadata_response(request, blob, media_type)
        found = await run_in_threadpool(found_by, self.retrieval, request)
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
        [stored, *_] = await run_in_threadpool(found_by, self.retrieval, request)
        return await send(request, await read(self.frames_of.answer, stored, numbers, accepted(request)))

    async def bulk_data(self, request: Request) -> Response:
        """WADO-RS bulk data (PS3.18 10.4.1.1.5) at the paths that our metadata names."""
        [stored, *_] = await run_in_threadpool(found_by, self.retrieval, request)
        path = request.path_params["path"].upper()
        return await send(request, await read(self.bulk_data_of.answer, stored, path, accepted(request)))

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
                return await send(request, self.retrieval.instances([stored], accepted(request)))
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

    def _conflicts(self, request: Request) -> list[Conflict]:
        study, _, _ = uids(request)
        return self.index.conflicts(access_of(request).institutions, study)


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
        for warning in [_MORE] * more:
            response.headers.append("Warning", warning)
        return response

    return search


def _conflict(one: Conflict) -> dict[str, str]:
    stored = one.instance
    return {
        "institution": stored.institution, "site": stored.site, "study_uid": stored.study_uid,
        "series_uid": stored.series_uid, "sop_instance_uid": stored.sop_instance_uid, "digest": stored.digest,
        "first_digest": one.first_digest, "received_at": rfc3339(one.received_at),
        "url": f"{BASE}/studies/{stored.study_uid}/series/{stored.series_uid}"
               f"/instances/{stored.sop_instance_uid}/versions/{stored.digest}",
    }  # fmt: skip
