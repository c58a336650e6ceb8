"""The ingest routes, on the internal listener alone and behind the gateway's key (contracts, sections 2 and 7)."""

import json
import re
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.gateway_only import Handler, gateway_only
from services.archive.ingest.service import Branch, IngestService
from services.archive.metrics import ArchiveMetrics
from services.common.errors import BadRequest, NotFound, Unauthenticated
from services.packs.pack import PackError, check_label

PATH = "/ingest/v1/packs/{pack_id}"
_PACK_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ingest:
    """The routes over their service; `gateway_key` is the secret shared with the gateway."""

    service: IngestService
    metrics: ArchiveMetrics
    gateway_key: str

    def routes(self) -> list[Route]:
        # Starlette answers HEAD by the GET route, without its body.
        return [
            Route(PATH, self._guarded(self.get), methods=["GET"]),
            Route(PATH, self._guarded(self.put), methods=["PUT"]),
        ]

    async def get(self, request: Request) -> Response:
        """Whether a pack is committed, and its receipts of the present epoch."""
        pack_id = _pack_id(request)
        receipts = await run_in_threadpool(self.service.receipts, _branch(request), pack_id)
        if not receipts:
            raise NotFound("The pack has no receipts of this epoch.", action="Send it with PUT.")
        return _answer(pack_id, receipts)

    async def put(self, request: Request) -> Response:
        """Take a pack and answer its receipts."""
        pack_id = _pack_id(request)
        receipts = await self.service.take(
            _branch(request), pack_id, _content_length(request), request.stream().__aiter__()
        )
        return _answer(pack_id, receipts)

    def _guarded(self, handler: Handler) -> Handler:
        """Only the gateway, which has verified the branch's certificate, gets through; refusals are counted."""
        return gateway_only(
            handler, self.gateway_key, lambda slug: self.metrics.refused.labels("ingest", slug).inc()
        )


def _pack_id(request: Request) -> str:
    pack_id = str(request.path_params["pack_id"])
    if not _PACK_ID.fullmatch(pack_id):
        raise BadRequest(
            "The pack id is not 64 lower-case hexadecimal digits.", action="See contracts, section 5."
        )
    return pack_id


def _branch(request: Request) -> Branch:
    try:
        return Branch(
            check_label(request.headers.get("x-pacs-client-institution", ""), "institution"),
            check_label(request.headers.get("x-pacs-client-site", ""), "site"),
        )
    except PackError as error:
        raise Unauthenticated(
            "The gateway named no institution and site.",
            action="Use a site certificate with the region's URI SAN.",
        ) from error


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _answer(pack_id: str, receipts: list[str]) -> Response:
    return Response(json.dumps({"pack_id": pack_id, "receipts": receipts}), media_type="application/json")
