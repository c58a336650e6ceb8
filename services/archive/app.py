"""The only wiring of the archive: from settings to listeners, threads and routes.

It starts, and takes instances into the segment log, also while PostgreSQL or the object store is
away: sealed packs wait, `/readyz` says why, and a background thread brings schema and index up to date.
"""

import logging
import shutil
import socket
import threading
from collections.abc import Callable
from functools import partial

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
from services.archive.dimse.caller import Address, Rights, rights_of
from services.archive.dimse.commitment import CommitmentProvider
from services.archive.dimse.find import Find
from services.archive.dimse.get import Get
from services.archive.dimse.limits import ConnectionLimits
from services.archive.dimse.move import Move
from services.archive.dimse.outgoing import Source
from services.archive.dimse.performed_step import StepProvider
from services.archive.dimse.query_retrieve import query_retrieve
from services.archive.dimse.request import Request
from services.archive.dimse.server import DimseListener, DimseServer
from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.storage import Storage
from services.archive.dimse.transcoder import NativeTranscoder
from services.archive.dimse.worklist import WorklistProvider
from services.archive.errors import translate_store
from services.archive.incoming import Incoming
from services.archive.index.rebuild import enter_missing
from services.archive.ingest.routes import Ingest
from services.archive.ingest.service import IngestService
from services.archive.migrate import migrate_patiently
from services.archive.parts import (
    Parts,
    destination_tls,
    outbox_of,
    parts_of,
    rendering_of,
    second_copy_of,
    sink_of,
)
from services.archive.reading.metadata import MetadataKeeper
from services.archive.reading.routes import Reading
from services.archive.settings import ArchiveSettings, StoreKind
from services.archive.tombstones.burial import Burial
from services.archive.tombstones.deletion import Deletion
from services.archive.tombstones.routes import DeletionRoutes
from services.archive.unsealed import Unsealed
from services.archive.upkeep.checkpoint import Checkpoint
from services.archive.workflow.reporting import CommitmentReporter
from services.archive.workflow.routes import WorkflowRoutes
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
        checks = Checkpoint(spool)
        parts.metrics.watch_checks(checks.last_differences, checks.last_finished)
        self._commitment = self._commitment_provider()
        self.commitments = self._commitment_reporter()
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
            services=[self._query_retrieve(), *self._workflow_services()],
        )
        self.rendering = rendering_of(settings, parts)
        incoming = Incoming(spool / "incoming", settings.spool_reserve_bytes)
        self.verifier = TokenVerifier(settings.token_jwks_file, settings.audiences, parts.clock)
        self.metadata = MetadataKeeper(parts.index, parts.metrics)
        self.public = self._public(incoming)
        self.internal = self._internal(incoming)
        copies = second_copy_of(settings, parts)
        self._second_copy = (
            threading.Thread(target=copies.run, args=(self._stop,), name="second-copy", daemon=True)
            if copies is not None
            else None
        )
        self._keeper = threading.Thread(target=self.bring_up_to_date, name="archive-keeper", daemon=True)

    def start(self) -> None:
        """Start sealing, the DIMSE listener and the keeper of schema and index. Raises `OSError` for a taken port."""
        if self._settings.store is StoreKind.FILESYSTEM:
            FilesystemStore(self._settings.store_directory).remove_unfinished("packs")
        self.sealer.start()
        self.dimse.start()
        self.commitments.start()
        self._keeper.start()
        if self._second_copy is not None:
            self._second_copy.start()
        self.metadata.start()

    def stop(self) -> None:
        """Take nothing more, give what was taken time to reach store and index, and end.

        What does not get there within `DRAIN_SECONDS` lies durable in the spool for the next start.
        """
        self._stop.set()
        self.commitments.stop()
        self.dimse.stop()
        self.rendering.close()
        self.metadata.stop()
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

        source = Source(parts.store, NativeTranscoder())
        return query_retrieve(
            Find(parts.index, rights, settings.ae_title, parts.metrics),
            Get(parts.index, source, rights, parts.metrics),
            Move(
                parts.index,
                source,
                rights,
                destinations=settings.dimse_destinations,
                ae_title=settings.ae_title,
                tls=destination_tls(settings),
                observer=parts.metrics,
            ),
        )

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
            *self._health(), check_route(parts.index), *self._workflow_routes(), *web.routes(),
            *DeletionRoutes(deletion).routes(),
        ]  # fmt: skip
        door = Middleware(TokenDoor, verifier=self.verifier, open_paths=OPEN_PATHS)
        return self._application(routes, [door])

    def _workflow_services(self) -> list[ServiceClass]:
        parts, settings = self.parts, self._settings

        def seen(calling_ae: str, address: Address) -> frozenset[str]:
            return rights_of(settings.dimse_callers, calling_ae, address, settings.institution).institutions

        worklist = WorklistProvider(
            parts.workflow.worklist, seen, partial(parts.metrics.workflow_refused, "worklist")
        )
        steps = StepProvider(
            parts.workflow.steps,
            settings.institution,
            settings.site,
            parts.clock,
            partial(parts.metrics.workflow_refused, "mpps"),
        )
        return [worklist.service_class(), steps.service_class(), self._commitment.service_class()]

    def _commitment_provider(self) -> CommitmentProvider:
        parts, settings = self.parts, self._settings
        return CommitmentProvider(
            parts.workflow.commitments,
            institution=settings.institution,
            site=settings.site,
            ae_title=settings.ae_title,
            holder=socket.gethostname(),
            clock=parts.clock,
            refused=partial(parts.metrics.workflow_refused, "commitment"),
            destinations=settings.dimse_destinations,
            tls=destination_tls(settings),
        )

    def _commitment_reporter(self) -> CommitmentReporter:
        parts, settings = self.parts, self._settings
        return CommitmentReporter(
            parts.workflow.commitments,
            parts.index,
            parts.store,
            self._commitment,
            institution=settings.institution,
            # A replica's name outlives its process, and so do its requests.
            holder=socket.gethostname(),
            arriving=lambda: bool(self.sealer.unsealed_bytes or self.sealer.uncommitted_packs),
            clock=parts.clock,
            counted=parts.metrics.commitment_reported,
        )

    def _workflow_routes(self) -> list[Route]:
        settings, workflow = self._settings, self.parts.workflow
        return WorkflowRoutes(
            workflow.worklist,
            workflow.steps,
            site=settings.site,
            own=settings.institution if settings.outbox_directory is not None else None,
            clock=self.parts.clock,
        ).routes()

    def _internal(self, incoming: Incoming) -> ASGIApp:
        parts, settings = self.parts, self._settings
        routes: list[BaseRoute] = [*self._health(), metrics_route(parts.metrics.registry)]
        if settings.gateway_key_file is not None:
            service = IngestService(
                self.sink, parts.index, incoming, parts.metrics, region=settings.region, epoch=settings.epoch
            )
            gateway_key = read_secret(settings.gateway_key_file)
            routes += Ingest(service, parts.metrics, gateway_key).routes()
            if parts.signer is not None:
                routes += Reading(parts.index, parts.signer, parts.metrics, gateway_key).routes()
        return self._application(routes, [])

    def _application(self, routes: list[BaseRoute], middleware: list[Middleware]) -> ASGIApp:
        timer = Middleware(RequestTimer, histogram=self.parts.metrics.request_seconds)
        return Starlette(
            routes=routes, middleware=[timer, *middleware], exception_handlers=EXCEPTION_HANDLERS
        )

    def _health(self) -> list[Route]:
        def threads() -> str | None:
            copies = [self._second_copy] if self._second_copy is not None else []
            threads = [
                *self.log.threads,
                *self.sealer.threads,
                *self.dimse.threads,
                *self.commitments.threads,
                *self.metadata.threads,
            ]
            return ended([*threads, *copies])

        return health_routes(self._probes(), vital={"threads": threads})

    def _probes(self) -> dict[str, Probe]:
        probes: dict[str, Probe] = {
            "index": self._index_reason, "store": self._store_reason, "tokens": self._tokens_reason,
            "spool": self._spool_reason,
        }  # fmt: skip
        if self.parts.keys is not None:
            probes["keys"] = self._keys_reason
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

    def _keys_reason(self) -> str | None:
        """Whether what is stored for the site's own institution can be encrypted and opened."""

        def probe() -> None:
            if self.parts.keys is not None:
                with translate_store():
                    self.parts.keys.ring.all(self._settings.institution)

        return _reason(probe)

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
