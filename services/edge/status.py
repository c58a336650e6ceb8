"""What the edge says of itself: `/status` as JSON, for people and for the mode controller."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.common.clock import Clock, rfc3339
from services.edge.forwarder.forwarder import Forwarder
from services.edge.forwarder.line import Line
from services.edge.forwarder.outbox import Outbox
from services.edge.metrics import EdgeMetrics
from services.enrolment.identity import IdentityFiles


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the branch's line. Times are RFC 3339, ages seconds."""

    institution: str
    site: str
    centre_reachable: bool
    centre_reason: str
    last_success: str | None
    queue_packs: int
    queue_bytes: int
    oldest_age_seconds: float
    quarantine_packs: int
    certificate_expires: str | None


class StatusBoard:
    """Collects the status; also sets the gauges that only have a value when someone looks."""

    def __init__(
        self,
        *,
        institution: str,
        site: str,
        forwarder: Forwarder,
        line: Line,
        outbox: Outbox,
        identity: IdentityFiles,
        metrics: EdgeMetrics,
        clock: Clock,
    ) -> None:
        self._institution, self._site = institution, site
        self._forwarder, self._line, self._outbox = forwarder, line, outbox
        self._identity, self._metrics, self._clock = identity, metrics, clock

    def look(self) -> Status:
        """The status now."""
        depth, now = self._forwarder.depth, self._clock.now()
        age = max(0.0, now.timestamp() - depth.oldest) if depth.oldest is not None else 0.0
        aside = self._outbox.quarantined()
        expires = self._expires()
        self._metrics.queue_age.set(age)
        self._metrics.quarantine_packs.set(aside)
        if expires is not None:
            self._metrics.certificate_expiry.set((expires - now).total_seconds())
        success = self._line.last_success
        return Status(
            institution=self._institution,
            site=self._site,
            centre_reachable=self._line.reachable,
            centre_reason=self._line.reason,
            last_success=rfc3339(success) if success else None,
            queue_packs=depth.packs,
            queue_bytes=depth.size,
            oldest_age_seconds=age,
            quarantine_packs=aside,
            certificate_expires=rfc3339(expires) if expires else None,
        )

    def routes(self) -> list[Route]:
        """`GET /status`."""

        def status(_: Request) -> Response:
            return JSONResponse(asdict(self.look()))

        return [Route("/status", status)]

    def _expires(self) -> datetime | None:
        identity = self._identity.load()
        return identity.not_after if identity else None
