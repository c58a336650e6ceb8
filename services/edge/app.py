"""The edge service put together: forwarder, ledger projection and renewal in threads, status over HTTP."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.common.clock import Clock, SystemClock
from services.common.health import ended, health_routes
from services.common.problem import EXCEPTION_HANDLERS
from services.common.settings import read_secret
from services.edge.adapters.http_centre import HttpCentre
from services.edge.adapters.postgres_ledger import PostgresLedger
from services.edge.adapters.receipt_judge import PinnedReceiptJudge
from services.edge.forwarder.delivery import Delivery
from services.edge.forwarder.forwarder import Forwarder
from services.edge.forwarder.line import Line
from services.edge.forwarder.outbox import Outbox
from services.edge.forwarder.patience import Patience
from services.edge.ledger.projection import Projection
from services.edge.metrics import EdgeMetrics
from services.edge.receipt_store import ReceiptStore
from services.edge.renewal import Renewer
from services.edge.settings import EdgeSettings
from services.edge.status import StatusBoard
from services.enrolment.authority import CertificateAuthority
from services.enrolment.errors import IdentityError
from services.enrolment.identity import IdentityFiles

AGAIN_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What runs beside the status endpoint: each entry is a thread's body and ends once its event is set."""

    stop: threading.Event
    bodies: dict[str, Callable[[], None]]

    def start(self) -> list[threading.Thread]:
        """Start all; daemon threads, for every one of them may be killed at any moment without loss."""
        threads = [
            threading.Thread(target=self._keep_running, args=(name, body), name=name, daemon=True)
            for name, body in self.bodies.items()
        ]
        for thread in threads:
            thread.start()
        return threads

    def _keep_running(self, name: str, body: Callable[[], None]) -> None:
        """A body that fails (a full disk while it starts, for one) begins again after a pause, from its files."""
        while not self.stop.is_set():
            try:
                body()
            except Exception as error:
                _log.error("thread failed and begins again", extra={"worker": name}, exc_info=error)
                self.stop.wait(AGAIN_SECONDS)


def build(
    settings: EdgeSettings, clock: Clock | None = None, registry: CollectorRegistry = REGISTRY
) -> Starlette:
    """Wire the service. Raises IdentityError when this host is not enrolled or is another site."""
    clock = clock or SystemClock()
    metrics = EdgeMetrics(registry)
    identity = IdentityFiles(settings.data_directory / "identity")
    _check_identity(identity, settings)

    outbox = Outbox(settings.data_directory, clock)
    receipts = ReceiptStore(settings.data_directory / "receipts")
    centre = HttpCentre(
        settings.centre_url,
        lambda: identity.tls_context(client=True),
        connections=settings.edge_connections + 1,  # one more for the probe
        connect_seconds=settings.edge_connect_seconds,
        answer_seconds=settings.edge_answer_seconds,
    )
    judge = PinnedReceiptJudge(
        identity.root,
        settings.receipt_certificates,
        region=settings.region,
        clock=clock,
        known_epoch=lambda: receipts.epoch,
    )
    patience = Patience()
    line = Line(clock, patience, random.random, settings.edge_connections)
    stop = threading.Event()
    bodies: dict[str, Callable[[], None]] = {}
    changed: Callable[[str], None] = _ignore
    if settings.ledger_url_file is not None:
        ledger = PostgresLedger(read_secret(settings.ledger_url_file))
        projection = Projection(ledger, outbox, receipts, metrics)
        changed = projection.changed
        bodies["ledger"] = lambda: projection.run(stop)
    forwarder = Forwarder(
        outbox,
        Delivery(outbox, receipts, centre, judge, metrics, clock),
        line,
        clock=clock,
        metrics=metrics,
        patience=patience,
        random=random.random,
        probe_seconds=settings.edge_probe_seconds,
        on_change=changed,
    )
    authority = CertificateAuthority(settings.authority_url, identity.tls_context(client=False))
    renewer = Renewer(identity, authority, centre.reconnect, metrics=metrics, clock=clock)
    bodies["forwarder"] = lambda: forwarder.run(stop, settings.edge_connections)
    bodies["renewer"] = lambda: renewer.run(stop)
    board = StatusBoard(
        institution=settings.institution,
        site=settings.site,
        forwarder=forwarder,
        line=line,
        outbox=outbox,
        identity=identity,
        metrics=metrics,
        clock=clock,
    )
    return _application(board, Work(stop, bodies), registry)


def _application(board: StatusBoard, work: Work, registry: CollectorRegistry) -> Starlette:
    threads: list[threading.Thread] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        threads.extend(work.start())
        yield
        work.stop.set()

    def metrics(_: Request) -> Response:
        board.look()  # ages are computed when someone looks
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    # A centre that is away is no reason to be "not ready": waiting is what this service is for.
    routes = [
        *health_routes({}, vital={"threads": lambda: ended(threads)}),
        *board.routes(),
        Route("/metrics", metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=EXCEPTION_HANDLERS)


def _check_identity(files: IdentityFiles, settings: EdgeSettings) -> None:
    identity = files.load()
    if identity is None:
        raise IdentityError(
            f"{files.directory} holds no certificate: this host is not enrolled",
            action="Run python -m services.edge.enrol with a one-time token.",
        )
    expected = (settings.domain, settings.institution, settings.site)
    if (identity.name.domain, identity.name.institution, identity.name.site) != expected:
        raise IdentityError(
            f"the certificate is of {identity.name.uri}, the settings say {'/'.join(expected)}",
            action="Correct the settings, or enrol this host again.",
        )


def _ignore(_: str) -> None:
    """No ledger is kept."""
