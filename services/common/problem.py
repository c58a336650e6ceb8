"""Errors as RFC 9457 problem documents: `type, title, status, detail, action`, never a traceback."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.common.errors import PacsError

TYPE_PREFIX = "urn:pacs:problem:"
_log = logging.getLogger(__name__)


def problem(
    status: int,
    title: str,
    *,
    slug: str,
    detail: str = "",
    action: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; `action` is our extension member (RFC 9457 3.2) and says what to do."""
    document = {
        "type": f"{TYPE_PREFIX}{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "action": action,
    }
    return Response(
        json.dumps(document, ensure_ascii=False),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def problem_of(error: PacsError) -> Response:
    """The problem document of one of our errors, with Retry-After and WWW-Authenticate where due."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="pacs"'
    return problem(
        error.status, error.title, slug=error.slug, detail=error.detail, action=error.action, headers=headers
    )


async def _on_pacs_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PacsError)  # noqa: S101 - the table below sends nothing else here
    if error.status >= 500:
        _log.error("request failed", exc_info=error)
    return problem_of(error)


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the table below sends nothing else here
    return problem(error.status_code, error.detail, slug=f"http-{error.status_code}", headers=error.headers)


async def _on_disconnect(_: Request, __: Exception) -> Response:
    # Nobody reads this answer; it keeps a cut line from looking like a fault of the service.
    # 408 and not 400: should a proxy pass it on, it must speak of the line and not of what was sent.
    return problem(
        408,
        "Client gone",
        slug="client-gone",
        detail="The connection ended within the body.",
        action="Send it again.",
    )


async def _on_anything_else(_: Request, error: Exception) -> Response:
    _log.error("request failed unexpectedly", exc_info=error)
    return problem(
        500,
        "Internal error",
        slug="internal",
        action="Send it again; if it stays, ask support to read the log.",
    )


EXCEPTION_HANDLERS: dict[Any, Any] = {
    PacsError: _on_pacs_error,
    HTTPException: _on_http_exception,
    ClientDisconnect: _on_disconnect,
    Exception: _on_anything_else,
}
