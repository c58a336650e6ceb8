"""The routes that the gateway alone asks: where a study's bytes lie, and in which form they may go out as they are.

The token was judged before (`/auth/v1/check` with the study); here the gateway names the institutions it may see.
"""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.archive.dicomweb.accept import JSON_TYPES
from services.archive.dicomweb.qido import checked_uid
from services.archive.errors import translate_store
from services.archive.gateway_only import Handler, gateway_only
from services.archive.metrics import ArchiveMetrics
from services.archive.ports import Index
from services.archive.reading.metadata_response import metadata_response
from services.archive.reading.representation import Kind, represent
from services.archive.reading.series_map import write_map
from services.archive.reading.signing import ObjectSigner
from services.common.errors import BadRequest, NotFound
from services.packs.footer import PackError, check_label

BASE = "/reading/v1"
STUDY = BASE + "/studies/{study}"
_MAX_SYNTAXES = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """The routes over the index and whoever signs."""

    index: Index
    signer: ObjectSigner
    metrics: ArchiveMetrics
    gateway_key: str

    def routes(self) -> list[Route]:
        return [
            self._get(STUDY, self.locations),
            self._get(STUDY + "/series/{series}", self.locations),
            self._get(STUDY + "/series/{series}/metadata", self.metadata),
            self._get(BASE + "/representation", self.representation),
        ]

    async def locations(self, request: Request) -> Response:
        """The map of a study or series for the institutions of `X-Pacs-Institutions`; 304 while it is the same."""
        view = _view(request)
        study = checked_uid(request.path_params["study"], "StudyInstanceUID")
        series = request.path_params.get("series")
        if series is not None:
            series = checked_uid(series, "SeriesInstanceUID")
        found = await run_in_threadpool(self.index.instances, frozenset(view), study, series)
        if not found:
            raise NotFound("There is no such study or series.", action="Let the archive answer.")
        with translate_store():
            text, version = await run_in_threadpool(write_map, ",".join(view), found, self.signer)
        same = request.headers.get("if-none-match") == version
        self.metrics.series_maps.labels("unchanged" if same else "made").inc()
        if same:
            return Response(status_code=304)
        return PlainTextResponse(text)

    async def metadata(self, request: Request) -> Response:
        """The metadata of a series, for the institutions of `X-Pacs-Institutions`; 404: ask the archive."""
        study = checked_uid(request.path_params["study"], "StudyInstanceUID")
        series = checked_uid(request.path_params["series"], "SeriesInstanceUID")
        blob = await run_in_threadpool(self.index.series_metadata, frozenset(_view(request)), study, series)
        if blob is None:
            raise NotFound("There is no such blob.", action="Let the archive answer.")
        return metadata_response(request, blob, JSON_TYPES[0])

    async def representation(self, request: Request) -> Response:
        """`multipart` or `single`, the part's type and its content type, a line each; 204: ask the archive."""
        query = request.query_params
        syntaxes = query.get("syntaxes", "").split(",")
        try:
            kind = Kind(query.get("kind", ""))
        except ValueError as error:
            raise BadRequest(
                "There is no such kind.", action=f"Ask for one of: {', '.join(Kind)}."
            ) from error
        if len(syntaxes) > _MAX_SYNTAXES:
            return Response(status_code=204)
        accept = ", ".join(request.headers.getlist("accept"))
        found = represent(kind, syntaxes, accept, single=query.get("single") == "1")
        if found is None:
            return Response(status_code=204)
        form = "multipart" if found.multipart else "single"
        return PlainTextResponse(f"{form}\n{found.part_type}\n{found.content_type}\n")

    def _get(self, path: str, handler: Handler) -> Route:
        refused = self.metrics.refused
        guarded = gateway_only(handler, self.gateway_key, lambda slug: refused.labels("reading", slug).inc())
        return Route(path, guarded, methods=["GET"])


def _view(request: Request) -> list[str]:
    """The institutions whose data may be shown; never all of them."""
    view = request.headers.get("x-pacs-institutions", "").split(",")
    try:
        return sorted({check_label(one, "institution") for one in view})
    except PackError as error:
        raise BadRequest(
            "X-Pacs-Institutions names no institutions.", action="Send the names of the token check."
        ) from error
