"""Every metric of the archive, in one place; `metrics.yaml` lists them."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.archive.index.records import Outcome
from services.common.metrics import REQUEST_SECONDS, SIZE_BYTES
from services.packs.pack import Footer


class ArchiveMetrics:
    """The archive's metrics, declared in `registry`; also the sealer's observer."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pacs_archive_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pacs_archive_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, *labels: str, buckets: tuple[float, ...] = REQUEST_SECONDS
        ) -> Histogram:
            return Histogram(f"pacs_archive_{name}", text, labels, buckets=buckets, registry=registry)

        self.registry = registry
        self._sealed: Callable[[Footer], None] = lambda _: None
        self.request_seconds = histogram(
            "request_seconds", "Seconds until the last byte of an HTTP answer.", "method", "route", "status"
        )
        self.store_seconds = histogram(
            "store_operation_seconds", "Seconds of one object store call.", "operation", "outcome"
        )
        self.commit_seconds = histogram(
            "pack_commit_seconds",
            "Seconds to put a pack into the index; one from a branch into the store too.",
            "outcome",
        )
        self.pack_bytes = histogram("pack_size_bytes", "Size of committed packs.", buckets=SIZE_BYTES)
        self.committed_instances = counter(
            "committed_instances_total",
            "Instances of committed packs: added, duplicate, conflict, tombstoned.",
            "result",
        )
        self.buried = counter(
            "buried_instances_total",
            "Versions of instances that a tombstone took out of the index, by code of the rejection or `deletion`.",
            "code",
        )
        self.unreadable_headers = counter(
            "unreadable_headers_total", "Instances indexed by their footer alone."
        )
        self.received_instances = counter(
            "received_instances_total", "Instances acknowledged as durable: dimse, stow, ingest.", "interface"
        )
        self.received_bytes = counter("received_bytes_total", "Bytes of acknowledged instances.", "interface")
        self.refused = counter(
            "refused_requests_total",
            "Requests and instances that were refused, by reason.",
            "interface",
            "reason",
        )
        self.sealed_packs = counter("sealed_packs_total", "Packs closed and durable in the spool.")
        self.failed_steps = counter(
            "failed_steps_total", "Sealing, storing or committing that is tried again.", "step"
        )
        self.quarantined_items = counter("quarantined_items_total", "Received bytes set aside for support.")
        self.unsealed_bytes = gauge("unsealed_bytes", "Acknowledged bytes that lie in the segment log only.")
        self.unsealed_age = gauge(
            "unsealed_oldest_age_seconds", "Age of the oldest of them; 0 when there are none."
        )
        self.uncommitted_packs = gauge("uncommitted_packs", "Sealed packs that wait for store or index.")
        self.built_metadata = counter(
            "built_metadata_total", "Metadata of series that was built after they had fallen quiet."
        )
        self.series_maps = counter(
            "series_maps_total",
            "Maps of a study or series that the gateway asked for: made, unchanged.",
            "result",
        )
        self.dimse_store_seconds = histogram(
            "dimse_store_seconds", "Seconds from a received C-STORE data set to its acknowledgement."
        )
        self.dimse_find_seconds = histogram(
            "dimse_find_seconds", "Seconds of a C-FIND until its last response."
        )
        self.dimse_sent = counter(
            "dimse_sent_instances_total", "Instances that C-GET and C-MOVE sent: get, move; sent, failed.",
            "operation", "result",
        )  # fmt: skip
        self.commitment_reports = counter(
            "commitment_reports_total",
            "Storage commitment: reported, failed (tried again), abandoned.",
            "result",
        )
        self.associations = gauge("open_associations", "DIMSE associations that are open now.")
        self.check_differences = gauge(
            "check_differences", "What the last finished check of index against bucket found."
        )
        self.check_finished = gauge(
            "check_finished_timestamp_seconds", "When that check ended; 0 before the first."
        )
        self.rendering_seconds = histogram(
            "rendering_seconds", "Seconds of a rendering job, with the wait for a worker."
        )
        self.rendering_jobs = counter(
            "rendering_jobs_total",
            "Rendering jobs by what became of them: done, refused, crashed, timeout, busy.",
            "operation",
            "outcome",
        )
        self.dependency_up = gauge(
            "dependency_up", "1 while a dependency answered its last probe.", "dependency"
        )

        self.second_copy_waiting = gauge(
            "second_copy_waiting_packs", "Committed packs that are not at the second site yet."
        )
        self.second_copy_age = gauge(
            "second_copy_oldest_age_seconds", "How long the oldest of them has been committed; 0 without any."
        )
        self.second_copied = counter(
            "second_copy_objects_total", "Objects for the second site: copied, present, failed.", "outcome"
        )

    def instances_committed(self, outcome: Outcome) -> None:
        """Count what a commit changed."""
        for result, count in (
            ("added", outcome.added), ("duplicate", outcome.duplicates),
            ("conflict", outcome.conflicts), ("tombstoned", outcome.tombstoned),
        ):  # fmt: skip
            self.committed_instances.labels(result).inc(count)

    def instance_received(self, interface: str, size: int) -> None:
        """Count an instance that was acknowledged."""
        self.received_instances.labels(interface).inc()
        self.received_bytes.labels(interface).inc(size)

    # What the DIMSE side reports (StorageObserver, AssociationObserver).

    def instance_stored(self, institution: str, size: int, seconds: float) -> None:
        self.instance_received("dimse", size)
        self.dimse_store_seconds.observe(seconds)

    def instance_refused(self, status: int) -> None:
        self.refused.labels("dimse", f"{status:04X}").inc()

    def dimse_query(self, status: int, seconds: float) -> None:
        self.dimse_find_seconds.observe(seconds)
        if status not in (0x0000, 0xFE00):
            self.refused.labels("dimse", f"{status:04X}").inc()

    def dimse_retrieved(self, operation: str, status: int, sent: int, failed: int) -> None:
        for result, count in (("sent", sent), ("failed", failed)):
            if count:
                self.dimse_sent.labels(operation, result).inc(count)
        if status not in (0x0000, 0xB000, 0xFE00):
            self.refused.labels("dimse", f"{status:04X}").inc()

    def workflow_refused(self, interface: str, status: int) -> None:
        """Count a refused request of the worklist or of a performed step."""
        self.refused.labels(interface, f"{status:04X}").inc()

    def commitment_reported(self, result: str) -> None:
        """Count an attempt to report a storage commitment."""
        self.commitment_reports.labels(result).inc()

    def association_accepted(self, calling_ae: str) -> None:
        self.associations.inc()

    def association_ended(self) -> None:
        self.associations.dec()

    def association_refused(self, reason: str) -> None:
        self.refused.labels("dimse", reason).inc()

    def watch_checks(self, differences: Callable[[], float], finished: Callable[[], float]) -> None:
        """Read what the last check found, and when it ended, whenever the metrics are asked for."""
        self.check_differences.set_function(differences)
        self.check_finished.set_function(finished)

    # What the rendering workers report (RenderingObserver).

    def job_ended(self, operation: str, outcome: str, seconds: float) -> None:
        self.rendering_seconds.observe(seconds)
        self.rendering_jobs.labels(operation, outcome).inc()

    # What the sealer and its handover report (SealingObserver).

    def watch(
        self,
        *,
        unsealed_bytes: Callable[[], float],
        unsealed_age: Callable[[], float],
        uncommitted_packs: Callable[[], float],
        sealed: Callable[[Footer], None],
    ) -> None:
        """Read the gauges from these whenever the metrics are asked for; tell `sealed` of each sealed pack."""
        self.unsealed_bytes.set_function(unsealed_bytes)
        self.unsealed_age.set_function(unsealed_age)
        self.uncommitted_packs.set_function(uncommitted_packs)
        self._sealed = sealed

    def pack_sealed(self, footer: Footer, size: int) -> None:
        self.sealed_packs.inc()
        self._sealed(footer)

    def pack_committed(self, footer: Footer, size: int) -> None:
        """Counted by the sink itself, where packs from the internet pass too."""

    def step_failed(self, step: str) -> None:
        self.failed_steps.labels(step).inc()

    def quarantined(self) -> None:
        self.quarantined_items.inc()
