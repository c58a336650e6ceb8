"""What a client accepts: RFC 9110 12.5.1 media ranges with the parameters of PS3.18 8.7.

A multipart range carries its part's type in `type`; `transfer-syntax` names a UID or `*`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request

from services.common.errors import BadRequest, NotAcceptable

MULTIPART = "multipart/related"
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
JSON_TYPES = ("application/dicom+json", "application/json")
EXPLICIT_LE = "1.2.840.10008.1.2.1"
MAX_HEADER = 4096

_PARAMETER = re.compile(r';\s*([\w.+-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"\s]*))')
_RANGE = re.compile(
    r'\s*([\w.+*-]+/[\w.+*-]+)((?:\s*;\s*[\w.+-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^;,"\s]*))*)\s*(?:,|$)'
)


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One accepted type; `part` is the type of the parts where `kind` is multipart."""

    kind: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def quality(self) -> float:
        try:
            return float(self.parameters.get("q", "1"))
        except ValueError:
            return 0.0

    @property
    def is_multipart(self) -> bool:
        return self.kind == MULTIPART

    @property
    def content(self) -> str:
        """The media type that the bytes themselves shall have; `*/*` where the client leaves it open."""
        return self.parameters.get("type", "*/*").lower() if self.is_multipart else self.kind

    @property
    def transfer_syntax(self) -> str | None:
        """A UID, `*`, or None where the client names none."""
        return self.parameters.get("transfer-syntax")

    def takes(self, media_type: str) -> bool:
        """Whether content of this type is accepted."""
        wanted = self.content
        return wanted in ("*/*", media_type) or (
            wanted.endswith("/*") and media_type.startswith(wanted.removesuffix("*"))
        )


def accepted(request: Request) -> list[MediaRange]:
    """What the client accepts, best first; the `accept` query parameter (PS3.18 8.3.3.1) goes before the header.

    Raises `BadRequest` for a header that cannot be read.
    """
    text = ", ".join(request.query_params.getlist("accept")) or ", ".join(request.headers.getlist("accept"))
    ranges = [one for one in parse(text or "*/*") if one.quality > 0]
    return sorted(ranges, key=lambda one: -one.quality)


def parse(text: str) -> Iterator[MediaRange]:
    """The media ranges of an Accept header in their order. Raises `BadRequest`."""
    position = 0
    while position < len(text):
        match = _RANGE.match(text, position) if len(text) <= MAX_HEADER else None
        if match is None:
            raise BadRequest(
                "The Accept header cannot be read.", action="Write media types as RFC 9110 12.5.1 says."
            )
        yield MediaRange(match[1].lower(), dict(_parameters(match[2])))
        position = match.end()


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in _PARAMETER.findall(text):
        yield name.lower(), (re.sub(r"\\(.)", r"\1", quoted) or plain).strip()


def json_type(request: Request) -> str:
    """The JSON media type to answer with. Raises `NotAcceptable`."""
    for one in accepted(request):
        for kind in JSON_TYPES:
            if not one.is_multipart and one.takes(kind):
                return kind
    raise NotAcceptable(
        "This answer is made as DICOM JSON only.", action=f"Accept {JSON_TYPES[0]} (PS3.18 table 8.7.3-5)."
    )


def not_acceptable(what: str, stored: str, targets: Sequence[str] = ()) -> NotAcceptable:
    """The refusal where `what` cannot be made as asked; it says what would work."""
    made = f", or one that it can be written in: {', '.join(targets)}" if targets else ""
    return NotAcceptable(
        f"{what} is stored in transfer syntax {stored}, and none of the accepted representations can be made of it.",
        action=f"Add `transfer-syntax=*` to the accepted type to get it as stored, or name that transfer syntax{made}.",
    )
