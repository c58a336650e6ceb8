"""`/auth/v1/check`: the gateway's `auth_request` asks whether a token allows what it is about to serve itself."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import SCOPES, access_of
from services.common.errors import BadRequest

PATH = "/auth/v1/check"


def check_route() -> Route:
    """`GET /auth/v1/check?scope=dicomweb:read`: 204, 401 or 403.

    A 204 names the subject and the institutions (`*` for every one) in headers for the gateway's
    cache key; the token itself was verified by `TokenDoor`.
    """
    return Route(PATH, _check, methods=["GET"])


async def _check(request: Request) -> Response:
    access = access_of(request)
    scopes = request.query_params.getlist("scope")
    if not scopes or not SCOPES.issuperset(scopes):
        raise BadRequest(
            "The check names no known scope.", action=f"Add ?scope= with one of: {', '.join(sorted(SCOPES))}."
        )
    for scope in scopes:
        access.require(scope)
    institutions = "*" if access.institutions is None else ",".join(sorted(access.institutions))
    # A subject or name outside Latin-1 cannot stand in a header.
    headers = {"X-Pacs-Subject": access.subject, "X-Pacs-Institutions": institutions}
    safe = {name: value.encode("ascii", "backslashreplace").decode() for name, value in headers.items()}
    return Response(status_code=204, headers=safe)
