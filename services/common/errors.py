"""The errors that a client of any service can meet; each maps once to an HTTP status.

    PacsError                     500
    ├── BadRequest                400   what was sent cannot be understood
    ├── Unauthenticated           401   no token, or one that does not hold
    ├── Forbidden                 403   known, but not allowed
    ├── NotFound                  404   not there, or not yours to see
    ├── NotAcceptable             406   no representation that the client accepts
    ├── LengthRequired            411
    ├── TooLarge                  413
    ├── UnsupportedMedia          415
    ├── TooManyRequests           429   come back later
    ├── Unavailable               503   a dependency does not answer; come back later
    └── NoRoom                    507   the disk or the bucket is full

A service adds its own below these in its `errors.py`. An error says what happened and why
(`detail`) and what to do (`action`); neither may hold a patient's name: both are logged.
"""

from typing import ClassVar


class PacsError(Exception):
    """An error with a public face: status, title, detail and what to do about it."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    slug: ClassVar[str] = "internal"
    retry_after: ClassVar[int | None] = None

    def __init__(self, detail: str, *, action: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.action = action


class BadRequest(PacsError):
    """What was sent cannot be understood."""

    status, title, slug = 400, "Bad request", "bad-request"


class Unauthenticated(PacsError):
    """No token, or one that is expired, foreign or forged."""

    status, title, slug = 401, "Not authenticated", "unauthenticated"


class Forbidden(PacsError):
    """The caller is known but may not do this."""

    status, title, slug = 403, "Forbidden", "forbidden"


class NotFound(PacsError):
    """Not there, or not visible to this caller: the two look the same on purpose."""

    status, title, slug = 404, "Not found", "not-found"


class NotAcceptable(PacsError):
    """None of the media types the client accepts can be made from what is stored."""

    status, title, slug = 406, "Not acceptable", "not-acceptable"


class LengthRequired(PacsError):
    """A body without Content-Length where its size must be known beforehand."""

    status, title, slug = 411, "Length required", "length-required"


class TooLarge(PacsError):
    """A body larger than the service takes."""

    status, title, slug = 413, "Too large", "too-large"


class UnsupportedMedia(PacsError):
    """A body of a type the service does not read."""

    status, title, slug = 415, "Unsupported media type", "unsupported-media"


class TooManyRequests(PacsError):
    """More work at once than the service takes on."""

    status, title, slug, retry_after = 429, "Too many requests", "too-many-requests", 2


class Unavailable(PacsError):
    """A dependency does not answer; nothing was lost, the same request may be sent again."""

    status, title, slug, retry_after = 503, "Unavailable", "unavailable", 5


class NoRoom(PacsError):
    """No room for what was sent; it was refused whole, before anything was acknowledged."""

    status, title, slug, retry_after = 507, "No room", "no-room", 60
