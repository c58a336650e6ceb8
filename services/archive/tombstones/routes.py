"""`DELETE` on a study, series or instance of DICOMweb (docs/contracts.md, sections 10 and 17)."""

import json
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import DELETE, access_of
from services.archive.dicomweb.qido import checked_uid
from services.archive.dicomweb.serving import INSTANCE, SERIES, STUDY
from services.archive.tombstones.deletion import MAX_BODY_BYTES, Deletion, read_wish
from services.archive.tombstones.document import Target
from services.common.errors import TooLarge


@dataclass(frozen=True, slots=True)
class DeletionRoutes:
    """The three routes over their service."""

    deletion: Deletion

    def routes(self) -> list[Route]:
        return [Route(path, self.delete, methods=["DELETE"]) for path in (STUDY, SERIES, INSTANCE)]

    async def delete(self, request: Request) -> Response:
        """Needs the scope `dicomweb:delete` and a JSON body with a reason; answers what was hidden."""
        access = access_of(request)
        access.require(DELETE)
        wish = read_wish(await small_body(request))
        done = await run_in_threadpool(self.deletion.delete, access, wish, _target(request))
        document = {"tombstone": done.document_id, "instances": done.instances}
        return Response(json.dumps(document), media_type="application/json")


async def small_body(request: Request) -> bytes:
    """The body of a request that never needs more than `MAX_BODY_BYTES`. Raises `TooLarge`."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.", action="Send less.")
    return bytes(body)


def _target(request: Request) -> Target:
    given = request.path_params
    return Target(
        study_uid=checked_uid(given["study"], "StudyInstanceUID"),
        series_uid=checked_uid(given["series"], "SeriesInstanceUID") if "series" in given else "",
        sop_instance_uid=checked_uid(given["instance"], "SOPInstanceUID") if "instance" in given else "",
    )
