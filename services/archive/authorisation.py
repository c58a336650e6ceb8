"""`/auth/v1/check`: the gateway asks whether a token allows what it is about to serve itself."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import SCOPES, access_of
from services.archive.dicomweb.qido import checked_uid
from services.archive.ports import Index
from services.common.errors import BadRequest, NotFound

PATH = "/auth/v1/check"


def check_route(index: Index) -> Route:
    """`GET /auth/v1/check?scope=dicomweb:read[&study=<UID>]`: 204, 401 or 403; with a study also 404.

    A 204 names the subject, the institutions (`*` for every one; with a study those among them that hold
    something of it) and when the token expires (Unix seconds). The token itself was verified by `TokenDoor`.
    """

    async def check(request: Request) -> Response:
        access = access_of(request)
        scopes = request.query_params.getlist("scope")
        if not scopes or not SCOPES.issuperset(scopes):
            raise BadRequest(
                "The check names no known scope.",
                action=f"Add ?scope= with one of: {', '.join(sorted(SCOPES))}.",
            )
        for scope in scopes:
            access.require(scope)
        institutions, study = access.institutions, request.query_params.get("study")
        if study is not None:
            study_uid = checked_uid(study, "StudyInstanceUID")
            institutions = await run_in_threadpool(index.holders, institutions, study_uid)
            if not institutions:
                raise NotFound("There is no such study.", action="Search for it with QIDO-RS.")
        headers = {
            "X-Pacs-Subject": access.subject,
            "X-Pacs-Institutions": "*" if institutions is None else ",".join(sorted(institutions)),
            "X-Pacs-Expires": str(access.expires),
        }
        # A subject or name outside Latin-1 cannot stand in a header.
        safe = {name: value.encode("ascii", "backslashreplace").decode() for name, value in headers.items()}
        return Response(status_code=204, headers=safe)

    return Route(PATH, check, methods=["GET"])
