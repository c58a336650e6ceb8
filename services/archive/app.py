"""The only wiring of the archive: from settings to listeners, threads and routes.

It starts, and takes instances into the segment log, also while PostgreSQL or the object store is
away: sealed packs wait, `/readyz` says why, and a background thread brings schema and index up to date.
"""

import logging
import shutil
import threading
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from services.archive.access import TokenDoor, TokenVerifier
from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.authorisation import check_route
from services.archive.dicomweb.routes import DicomWeb
from services.archive.dicomweb.stow import StoreService
from services.archive.dimse.caller import Rights, rights_of
from services.archive.dimse.connection import ConnectionLimits
from services.archive.dimse.find import Find
from services.archive.dimse.query_retrieve import query_retrieve
from services.archive.dimse.request import Request
from services.archive.dimse.server import DimseListener, DimseServer
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.storage import Storage
from services.archive.incoming import Incoming
from services.archive.index.rebuild import enter_missing
from services.archive.ingest.routes import Ingest
from services.archive.ingest.service import IngestService
from services.archive.migrate import migrate_patiently
from services.archive.parts import Parts, outbox_of, parts_of, rendering_of, sink_of
from services.archive.settings import ArchiveSettings, StoreKind
from services.archive.tombstones.burial import Burial
from services.archive.tombstones.deletion import Deletion
from services.archive.tombstones.routes import DeletionRoutes
from services.archive.unsealed import Unsealed
from services.common.errors import PacsError
from services.common.health import Probe, ended, health_routes
from services.common.metrics import RequestTimer, metrics_route
from services.common.problem import EXCEPTION_HANDLERS
from services.common.settings import read_secret
from services.packs.sealing import Sealer, SealingRules
from services.packs.segment import SegmentLog

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
DRAIN_SECONDS = 15.0
_PAUSE = 2.0
_log = logging.getLogger(__name__)


class Archive:
    """A whole archive process less its HTTP listeners: two ASGI applications, the DIMSE listener, the sealer."""

    def __init__(self, settings: ArchiveSettings, parts: Parts) -> None:
        self._settings, self.parts = settings, parts
        self._stop = threading.Event()
        self._current = threading.Event()
        spool = settings.spool_directory
        self.sink = sink_of(settings, parts)
        self.burial = Burial(parts.store, parts.index, parts.metrics)
        self.log = SegmentLog(
            spool / "segments" / "0",
            headroom_bytes=settings.spool_reserve_bytes,
            quarantine=settings.quarantine_directory,
            set_aside=parts.metrics.quarantined,
        )
        unsealed = Unsealed(parts.clock, lambda: self.log.live_records)
        self.log.subscribe(unsealed.received)
        self.sealer = Sealer(
            self.log,
            spool / "sealed",
            self.sink,
            region=settings.region,
            quarantine=settings.quarantine_directory,
            rules=SealingRules(settings.seal_idle_seconds, settings.seal_age_seconds),
            observer=parts.metrics,
            clock=parts.clock,
        )
        parts.metrics.watch(
            unsealed_bytes=lambda: self.sealer.unsealed_bytes,
            unsealed_age=unsealed.oldest_seconds,
            uncommitted_packs=lambda: self.sealer.uncommitted_packs,
            sealed=unsealed.sealed,
        )
        self.dimse = DimseServer(
            DimseListener(
                settings.ae_title,
                settings.dimse_host,
                settings.dimse_port,
                callers=settings.dimse_callers,
                limits=ConnectionLimits.within(settings.memory_bytes),
            ),
            Storage(
                self.log,
                institution=settings.institution,
                site=settings.site,
                observer=parts.metrics,
                clock=parts.clock,
            ),
            ended=self.sealer.association_ended,
            observer=parts.metrics,
            services=[self._query_retrieve()],
        )
        self.rendering = rendering_of(settings, parts)
        incoming = Incoming(spool / "incoming", settings.spool_reserve_bytes)
        self.verifier = TokenVerifier(settings.token_jwks_file, settings.audiences, parts.clock)
        self.public = self._public(incoming)
        self.internal = self._internal(incoming)
        self._keeper = threading.Thread(target=self.bring_up_to_date, name="archive-keeper", daemon=True)

    def start(self) -> None:
        """Start sealing, the DIMSE listener and the keeper of schema and index. Raises `OSError` for a taken port."""
        if self._settings.store is StoreKind.FILESYSTEM:
            FilesystemStore(self._settings.store_directory).remove_unfinished("packs")
        self.sealer.start()
        self.dimse.start()
        self._keeper.start()

    def stop(self) -> None:
        """Take nothing more, give what was taken time to reach store and index, and end.

        What does not get there within `DRAIN_SECONDS` lies durable in the spool for the next start.
        """
        self._stop.set()
        self.dimse.stop()
        self.rendering.close()
        waited = threading.Event()
        deadline = self.parts.clock.monotonic() + DRAIN_SECONDS
        while (self.sealer.unsealed_bytes or self.sealer.uncommitted_packs) and (
            self.parts.clock.monotonic() < deadline
        ):
            waited.wait(0.05)
        self.sealer.stop()
        self.log.close()
        self._keeper.join(timeout=DRAIN_SECONDS)
        if isinstance(self.parts.index, PostgresIndex):
            self.parts.index.close()

    def _query_retrieve(self) -> ServiceClass:
        parts, settings = self.parts, self._settings

        def rights(request: Request) -> Rights:
            callers = settings.dimse_callers
            return rights_of(callers, request.calling_ae, request.address, settings.institution)

        return query_retrieve(Find(parts.index, rights, settings.ae_title, parts.metrics))

    def _public(self, incoming: Incoming) -> ASGIApp:
        parts, settings = self.parts, self._settings
        storing = StoreService(
            self.log,
            incoming,
            parts.metrics,
            parts.clock,
            institution=settings.institution,
            site=settings.site,
            # What a branch takes it must be able to forward: the centre refuses packs of others (403).
            own_only=settings.outbox_directory is not None,
            ended=self.sealer.association_ended,
        )
        web = DicomWeb.of(parts.store, parts.index, self.rendering, storing)
        deletion = Deletion(parts.index, self.burial, parts.clock, region=settings.region, site=settings.site)
        routes: list[BaseRoute] = [
            *self._health(), check_route(), *web.routes(), *DeletionRoutes(deletion).routes(),
        ]  # fmt: skip
        door = Middleware(TokenDoor, verifier=self.verifier, open_paths=OPEN_PATHS)
        return self._application(routes, [door])

    def _internal(self, incoming: Incoming) -> ASGIApp:
        parts, settings = self.parts, self._settings
        routes: list[BaseRoute] = [*self._health(), metrics_route(parts.metrics.registry)]
        if settings.gateway_key_file is not None:
            service = IngestService(
                self.sink, parts.index, incoming, parts.metrics, region=settings.region, epoch=settings.epoch
            )
            routes += Ingest(service, parts.metrics, read_secret(settings.gateway_key_file)).routes()
        return self._application(routes, [])

    def _application(self, routes: list[BaseRoute], middleware: list[Middleware]) -> ASGIApp:
        timer = Middleware(RequestTimer, histogram=self.parts.metrics.request_seconds)
        return Starlette(
            routes=routes, middleware=[timer, *middleware], exception_handlers=EXCEPTION_HANDLERS
        )

    def _health(self) -> list[Route]:
        def threads() -> str | None:
            return ended([*self.log.threads, *self.sealer.threads, *self.dimse.threads])

        return health_routes(self._probes(), vital={"threads": threads})

    def _probes(self) -> dict[str, Probe]:
        probes: dict[str, Probe] = {
            "index": self._index_reason, "store": self._store_reason, "tokens": self._tokens_reason,
            "spool": self._spool_reason,
        }  # fmt: skip
        return {name: self._counted(name, probe) for name, probe in probes.items()}

    def _counted(self, name: str, probe: Probe) -> Probe:
        def counted() -> str | None:
            reason = probe()
            self.parts.metrics.dependency_up.labels(name).set(reason is None)
            return reason

        return counted

    def _index_reason(self) -> str | None:
        if not self._current.is_set():
            return "the schema has not been brought up to date yet"
        return _reason(self.parts.index.ping)

    def _store_reason(self) -> str | None:
        return _reason(lambda: self.parts.store.exists("packs/probe"))

    def _tokens_reason(self) -> str | None:
        return _reason(self.verifier.keys)

    def _spool_reason(self) -> str | None:
        free = shutil.disk_usage(self._settings.spool_directory).free
        if free < self._settings.spool_reserve_bytes:
            return f"{free} bytes free, {self._settings.spool_reserve_bytes} are kept in reserve: instances are refused"
        return None

    def bring_up_to_date(self) -> None:
        """Mend outbox, schema and index, however long their servers are away; `start` runs it on a thread."""
        if not self._mend_outbox():
            return
        if isinstance(self.parts.index, PostgresIndex) and not migrate_patiently(
            self._settings.dsn, self._stop, _PAUSE
        ):
            return
        self._current.set()
        while not self._stop.is_set():
            try:
                if self.parts.keys is not None:
                    self.parts.keys.ring.tend()
                self.burial.enter_missing()
                enter_missing(self.parts.store, self.parts.index, self.sink, self._stop)
            except Exception:  # whatever it was: packs without rows are looked for until they were
                _log.warning("packs without rows cannot be looked for yet", exc_info=True)
                self._stop.wait(_PAUSE)
            else:
                return

    def _mend_outbox(self) -> bool:
        """Link what should wait for the forwarder, again and again while the disk is full; False when stopped."""
        outbox = outbox_of(self._settings)
        while outbox is not None:
            try:
                outbox.rebuild()
                break
            except OSError:
                _log.warning("the outbox cannot be mended yet", exc_info=True)
                if self._stop.wait(_PAUSE):
                    return False
        return True


def build(settings: ArchiveSettings) -> Archive:
    """The archive that these settings describe. Nothing listens before `start`."""
    return Archive(settings, parts_of(settings))


def _reason(probe: Callable[[], object]) -> str | None:
    try:
        probe()
    except PacsError as error:
        return error.detail
    except Exception as error:
        return f"{type(error).__name__}: it does not answer"
    return None
