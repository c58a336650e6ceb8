"""What rendering and transcoding cannot do; both are refusals of this request alone.

PacsError
├── NotAcceptable 406
│   └── CannotRender     this instance cannot be shown or written as asked: another form of it can be had
└── TooManyRequests 429
    └── RenderingBusy    every worker is at work
"""

from services.common.errors import NotAcceptable, TooManyRequests


class CannotRender(NotAcceptable):
    """Its pixels cannot be decoded, are none, or would take more memory or time than a worker has."""

    slug = "cannot-be-rendered"


class RenderingBusy(TooManyRequests):
    """No worker became free in time."""

    slug = "rendering-busy"
