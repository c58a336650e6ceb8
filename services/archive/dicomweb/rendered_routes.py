"""The routes of pictures: WADO-RS rendered and thumbnail, and WADO-URI."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import access_of
from services.archive.dicomweb.accept import DICOM, MediaRange, accepted
from services.archive.dicomweb.frames import frame_numbers
from services.archive.dicomweb.rendered import Rendered, media_type, picture_of
from services.archive.dicomweb.serving import BASE, INSTANCE, SERIES, STUDY, found_by, read, reading, send
from services.archive.dicomweb.wado import Retrieval
from services.archive.dicomweb.wado_uri import picture_asked, read_request

FRAMES = INSTANCE + "/frames/{frames}"


@dataclass(frozen=True, slots=True)
class RenderedRoutes:
    """PS3.18 10.4.1.1.3, 10.4.1.1.4 and chapter 9."""

    retrieval: Retrieval
    rendered: Rendered

    def routes(self) -> list[Route]:
        return [
            *(reading(path + "/rendered", self.instances) for path in (STUDY, SERIES, INSTANCE)),
            reading(FRAMES + "/rendered", self.frames),
            *(reading(path + "/thumbnail", self.thumbnail) for path in (STUDY, SERIES, INSTANCE, FRAMES)),
            reading(BASE + "/wado", self.wado_uri),
        ]

    async def instances(self, request: Request) -> Response:
        """Rendered study, series, instance."""
        kind, asked = media_type(accepted(request))
        wanted = picture_of(request.query_params, kind)
        found = await read(found_by, self.retrieval, request)
        return await send(request, await read(self.rendered.instances, found, wanted, asked))

    async def frames(self, request: Request) -> Response:
        """Rendered frames."""
        kind, asked = media_type(accepted(request))
        wanted, numbers = picture_of(request.query_params, kind), frame_numbers(request.path_params["frames"])
        [stored, *_] = await read(found_by, self.retrieval, request)
        return await send(request, await read(self.rendered.frames, stored, numbers, wanted, asked))

    async def thumbnail(self, request: Request) -> Response:
        """One small picture."""
        kind, asked = media_type(accepted(request))
        wanted = picture_of(request.query_params, kind)
        frames = request.path_params.get("frames")
        number = frame_numbers(frames)[0] if frames is not None else None
        found = await read(found_by, self.retrieval, request)
        return await send(request, await read(self.rendered.thumbnail, found, number, wanted, asked))

    async def wado_uri(self, request: Request) -> Response:
        """WADO-URI: the object itself or a picture of it."""
        asked = read_request(request.query_params)
        found = await read(
            self.retrieval.find,
            access_of(request).institutions,
            asked.study_uid,
            asked.series_uid,
            asked.sop_instance_uid,
        )
        kind = asked.kind(found[0])
        if kind == DICOM:
            return await send(request, self.retrieval.instances(found, [asked.dicom_range()]))
        wanted = picture_asked(request.query_params, kind)
        numbers = [asked.frame or 1]
        return await send(
            request, await read(self.rendered.frames, found[0], numbers, wanted, MediaRange(kind))
        )
