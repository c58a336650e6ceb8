"""The door of the internal listener's routes: only the gateway, which knows the shared key, gets through."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from services.common.errors import PacsError, Unauthenticated

Handler = Callable[[Request], Awaitable[Response]]


def gateway_only(handler: Handler, gateway_key: str, refused: Callable[[str], None]) -> Handler:
    """The handler behind the key; `refused` is told the slug of every refusal, the handler's own too."""

    async def guarded(request: Request) -> Response:
        try:
            given = request.headers.get("x-pacs-gateway-key", "")
            if not hmac.compare_digest(given.encode(), gateway_key.encode()):
                # 401 and not 403: it speaks of the line, so that a branch sets no pack aside for it.
                raise Unauthenticated(
                    "The request did not come through the gateway.",
                    action="Send packs to the gateway's port 443; give gateway and archive the same key file.",
                )
            return await handler(request)
        except PacsError as error:
            refused(error.slug)
            raise

    return guarded
