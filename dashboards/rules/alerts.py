"""Alerts on causes that no objective of reading shows in time: images that are stuck, and room that ends.

A branch evaluates those of branches, storing and hosts on its own figures, also when its line is cut.
"""

from __future__ import annotations

from dashboards.config import Config
from dashboards.queries import branches, platform, storing
from dashboards.rules.model import Alert, Severity

PAGE, TICKET, INFO = Severity.PAGE, Severity.TICKET, Severity.INFO


def branch_alerts(config: Config) -> list[Alert]:
    """What a hospital's edge node says."""
    return [
        Alert(
            "BranchQueueOld",
            f"{branches.queue_age(config)} > {config.queue_age_warning_seconds}",
            "5m",
            TICKET,
            "{{ $labels.site }}: images have waited {{ $value | humanizeDuration }} for the centre",
            "The oldest pack without a receipt is older than 15 minutes. Normal: seconds. The images are safe"
            " at the branch and can be read there.",
        ),
        Alert(
            "BranchQueueStuck",
            f"{branches.queue_age(config)} > {config.queue_age_critical_seconds}",
            "10m",
            PAGE,
            "{{ $labels.site }}: images have waited {{ $value | humanizeDuration }} for the centre",
            "The oldest pack without a receipt is older than 4 hours. Normal: seconds. The branch evicts"
            " nothing without a receipt, so its disk is filling up.",
        ),
        Alert(
            "BranchQueueDrainsSlowly",
            f"{branches.drain_seconds(config)} > {config.drain_warning_seconds}",
            "30m",
            TICKET,
            "{{ $labels.site }}: the queue needs {{ $value | humanizeDuration }} at the present pace",
            "Bytes to go divided by the pace of the last half hour exceed 6 hours. Normal: minutes.",
        ),
        Alert(
            "PacksRefused",
            f"{branches.refused_packs(config, '1h')} > 0",
            "0m",
            PAGE,
            "{{ $labels.site }}: the centre refused packs ({{ $labels.reason }})",
            "Packs lie in the branch's quarantine and reach the centre only by hand. Normal: never.",
        ),
        Alert(
            "ReceiptsRejected",
            f"{branches.rejected_receipts(config, '1h')} > 0",
            "0m",
            PAGE,
            "{{ $labels.site }}: receipts do not hold ({{ $labels.reason }})",
            "The centre's answer had a receipt with a wrong signature, key or content. Normal: never. Nothing"
            " is evicted on such a receipt.",
        ),
        Alert(
            "CertificateExpiresSoon",
            f"{branches.certificate_seconds(config)} < {config.certificate_warning_seconds}",
            "1h",
            TICKET,
            "{{ $labels.site }}: the site certificate ends in {{ $value | humanizeDuration }}",
            "Renewal should have happened by now. Normal: above 21 days.",
        ),
        Alert(
            "CertificateExpiresNow",
            f"{branches.certificate_seconds(config)} < {config.certificate_critical_seconds}",
            "0m",
            PAGE,
            "{{ $labels.site }}: the site certificate ends in {{ $value | humanizeDuration }}",
            "After that the centre accepts nothing from this branch. Normal: above 21 days.",
        ),
    ]


def storing_alerts(config: Config) -> list[Alert]:
    """From the modality's success to the object and the row."""
    return [
        Alert(
            "UnsealedDataOld",
            f"{storing.unsealed_age(config)} > {config.unsealed_age_seconds}",
            "2m",
            PAGE,
            "{{ $labels.site }}: acknowledged images have waited {{ $value | humanizeDuration }} for a pack",
            "They lie in the segment log (durable, not yet forwarded or readable). Normal: below 3 s.",
        ),
        Alert(
            "PacksNotCommitted",
            f"min_over_time(({storing.uncommitted_packs(config)})[10m:30s]) > 0",
            "5m",
            PAGE,
            "{{ $labels.site }}: {{ $value }} packs cannot be put into store or index",
            "Object store or PostgreSQL does not take them. Normal: 0, a handful for seconds.",
        ),
        Alert(
            "SecondCopyBehind",
            f"{storing.second_copy_age(config)} > {config.second_copy_warning_seconds}",
            "10m",
            TICKET,
            "{{ $labels.site }}: a pack has waited {{ $value | humanizeDuration }} for its copy at the second site",
            "What is lost here meanwhile is lost. Normal: below a minute.",
        ),
        Alert(
            "StorageRefusing",
            f"{storing.refused_for_room('10m')} > 0",
            "0m",
            PAGE,
            "{{ $labels.site }}: images are refused because there is no room",
            "Modalities get A700 (web clients 507) and must send again. Normal: never.",
        ),
        Alert(
            "ConflictsFound",
            f"{storing.conflicts(config, '1h')} > 0",
            "0m",
            TICKET,
            "{{ $labels.site }}: {{ $value | humanize }} instances came with a known UID and other content",
            "Both versions are kept and flagged. Normal: never; a modality or a converter reuses UIDs.",
        ),
        Alert(
            "DataQuarantined",
            f"{storing.quarantined(config, '1h')} > 0",
            "0m",
            TICKET,
            "{{ $labels.site }}: received bytes were set aside",
            "They cannot be packed and are kept for support. Normal: never.",
        ),
        Alert(
            "ArchiveDiffers",
            f"{storing.check_differences(config)} > 0",
            "0m",
            PAGE,
            "{{ $labels.site }}: the last check found {{ $value }} differences of index and bucket",
            "Bytes that were acknowledged, or their rows, are missing or altered. Normal: never.",
        ),
    ]


def host_alerts(config: Config) -> list[Alert]:
    """Parts and hosts, the same at centre and branch."""
    return [
        Alert(
            "TargetDown",
            platform.targets_down(config),
            "5m",
            TICKET,
            "{{ $labels.job }} at {{ $labels.site }} does not answer ({{ $labels.instance }})",
            "Its metrics are missing and with them its alerts. Normal: every target is up.",
        ),
        Alert(
            "DependencyDown",
            f"{platform.dependency(config)} == 0",
            "2m",
            PAGE,
            "{{ $labels.site }}: the archive cannot reach {{ $labels.dependency }}",
            "Reading fails where it needs it; receiving goes on into the segment log. Normal: 1.",
        ),
        Alert(
            "DiskFillingUp",
            f"{platform.disk_free_share(config)} < {config.disk_warning_free}",
            "30m",
            TICKET,
            "{{ $labels.site }}: {{ $value | humanizePercentage }} free on {{ $labels.mountpoint }}",
            "Normal: above 15 %.",
        ),
        Alert(
            "DiskFull",
            f"{platform.disk_free_share(config)} < {config.disk_critical_free}",
            "2m",
            PAGE,
            "{{ $labels.site }}: {{ $value | humanizePercentage }} free on {{ $labels.mountpoint }}",
            "The archive refuses (A700, 507) before it loses. Normal: above 15 %.",
        ),
        Alert(
            "PartRestarting",
            f"{platform.restarts(config, '30m')} > {config.restarts_warning}",
            "0m",
            TICKET,
            "{{ $labels.job }} at {{ $labels.site }} started {{ $value }} times in half an hour",
            "It ends again and again; what it does between is done, what it was doing is repeated."
            " Normal: once, at an upgrade.",
        ),
        Alert(
            "NodeCertificateExpires",
            f"{platform.node_certificate_seconds(config)} < {config.certificate_warning_seconds}",
            "1h",
            TICKET,
            "{{ $labels.instance }}: {{ $labels.certificate }} ends in {{ $value | humanizeDuration }}",
            "When it has ended, the Kubernetes API there answers nobody; images are still received and read."
            " Normal: above 18 months, 21 days at the very least.",
        ),
        Alert(
            "HostServiceDown",
            platform.units_down(config),
            "5m",
            TICKET,
            "{{ $labels.name }} on {{ $labels.instance }} at {{ $labels.site }} does not run",
            "Pods that run go on; nothing restarts one that ends. Normal: active on every host.",
        ),
    ]


def centre_alerts(config: Config) -> list[Alert]:
    """What only the centre can say: Ceph, the index, silent branches, and the alerting itself."""
    return [
        Alert(
            "Watchdog",
            "vector(1)",
            "0m",
            INFO,
            "Alerting works",
            "Fires always. If it stops arriving, Prometheus, Alertmanager or the way out is broken.",
        ),
        Alert(
            "BranchSilent",
            branches.silent(config),
            "15m",
            TICKET,
            "{{ $labels.site }} has not reported for 15 minutes",
            "The branch reported within the last week and does not now. Normal: every site reports."
            " It goes on working alone; its figures arrive when the line is back.",
        ),
        Alert(
            "ObjectStoreFillingUp",
            f"{platform.object_store_used_share(config)} > {config.object_store_warning_used}",
            "30m",
            TICKET,
            "{{ $value | humanizePercentage }} of the object store is in use",
            "Ceph warns at 85 % and stops writes at 95 %. Normal: below 75 %.",
        ),
        Alert(
            "ObjectStoreUnhealthy",
            f"{platform.object_store_health(config)} == 2",
            "2m",
            PAGE,
            "Ceph reports HEALTH_ERR",
            "Data may be unavailable or at risk. Normal: 0 (HEALTH_OK), 1 (HEALTH_WARN) for maintenance.",
        ),
        Alert(
            "ServerCertificateExpires",
            f"{platform.server_certificate_seconds(config)} < {config.certificate_warning_seconds}",
            "1h",
            TICKET,
            "The certificate of the {{ $labels.certificate }} ends in {{ $value | humanizeDuration }}",
            "Only an `up` renews it, and none has run for months. Without it branches, browsers or the archive"
            " are cut off. Normal: above 132 days after each `up`.",
        ),
        Alert(
            "IndexDatabaseDown",
            platform.database_down(config),
            "2m",
            PAGE,
            "PostgreSQL at {{ $labels.instance }} (the index) does not answer",
            "Normal: 1 for every instance. Receiving goes on; searching does not.",
        ),
    ]
