"""Every metric of the edge service; `metrics.yaml` lists them."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.common.metrics import REQUEST_SECONDS


class EdgeMetrics:
    """The edge's metrics, declared in `registry`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"pacs_edge_{name}", text, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"pacs_edge_{name}", text, labels, registry=registry)

        self.queue_packs = gauge("queue_packs", "Packs in the outbox: without receipt.")
        self.queue_bytes = gauge("queue_bytes", "Bytes of the packs in the outbox.")
        self.queue_age = gauge(
            "queue_oldest_age_seconds", "Age of the oldest pack in the outbox; 0 when empty."
        )
        self.quarantine_packs = gauge("quarantine_packs", "Packs set aside for support.")
        self.forwarded_packs = counter("forwarded_packs_total", "Packs whose receipts were stored.")
        self.forwarded_bytes = counter(
            "forwarded_bytes_total", "Bytes of the packs whose receipts were stored."
        )
        self.refused_packs = counter("refused_packs_total", "Packs set aside, by reason.", ("reason",))
        self.attempts_failed = counter(
            "failed_attempts_total", "Attempts that will be repeated, by reason.", ("reason",)
        )
        self.receipts_verified = counter(
            "receipts_verified_total", "Receipts whose signature and content held."
        )
        self.receipts_rejected = counter(
            "receipts_rejected_total", "Answers with a receipt that did not.", ("reason",)
        )
        self.put_seconds = Histogram(
            "pacs_edge_put_duration_seconds",
            "Seconds from the first byte of a pack to its receipts, successes only.",
            buckets=(*REQUEST_SECONDS, 120.0, 300.0),
            registry=registry,
        )
        self.centre_reachable = gauge(
            "centre_reachable", "1 while the last exchange with the centre succeeded."
        )
        self.last_receipt = gauge("last_receipt_timestamp_seconds", "Unix time at which receipts last came.")
        self.certificate_expiry = gauge(
            "certificate_expiry_seconds", "Seconds until the site certificate ends."
        )
        self.renewals_failed = counter(
            "renewal_failures_total", "Renewals that failed, by reason.", ("reason",)
        )
        self.ledger_behind = gauge("ledger_behind_packs", "Packs whose rows are not yet up to date.")
