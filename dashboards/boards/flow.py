"""The flow in detail: where images are between the modality's success and the receipt."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Board, Panel, Query, Row, Text, Threshold, Unit
from dashboards.queries import branches, platform, reading, storing


def flow(config: Config) -> Board:
    """For whoever looks into an alert: receiving, packing, forwarding, trust, ground."""
    return Board(
        uid="pacs-flow",
        title=Text("Regional PACS: the flow in detail", "区域影像平台：数据流详情"),
        rows=(
            Row(
                Text("Receiving and packing", "接收与打包"),
                (
                    c_store(config),
                    associations(config),
                    received_bytes(config),
                    unsealed_bytes(config),
                    sealed(config),
                    pack_size(config),
                    committed(config),
                    failed_steps(config),
                    unreadable(config),
                    connections(config),
                ),
            ),
            Row(
                Text("Forwarding and receipts", "上传与回执"),
                (
                    queue_packs(config),
                    forwarded_packs(config),
                    drain(config),
                    put(config),
                    failed_attempts(config),
                    receipt_age(config),
                    receipts(config),
                    distrust(config),
                    ledger(config),
                    database(config),
                    ceph(config),
                ),
            ),
        ),
    )


def c_store(config: Config) -> Panel:
    return Panel(
        "c-store",
        Text("Time to acknowledge a C-STORE", "C-STORE 应答时间"),
        Text("p95 below 50 ms: one group fdatasync.", "p95 低于 50 毫秒（一次 fdatasync）。"),
        Unit.SECONDS,
        (Query(storing.dimse_quantile(config, 0.95), "p95 {{site}}"),),
        threshold=Threshold(0.2, 1.0),
    )


def associations(config: Config) -> Panel:
    return Panel(
        "associations",
        Text("Open associations", "DICOM 连接数"),
        Text(
            "As many as devices that send; a climbing line never comes back: a device hangs.",
            "与正在发送的设备数相当；只升不降说明有设备挂起。",
        ),
        Unit.COUNT,
        (Query(storing.associations(config), "{{site}}"),),
    )


def received_bytes(config: Config) -> Panel:
    return Panel(
        "received-bytes",
        Text("Bytes acknowledged", "接收数据量"),
        Text("Follows the examinations.", "随检查量起伏。"),
        Unit.BYTES_PER_SECOND,
        (Query(storing.received_bytes(config), "{{site}}"),),
    )


def unsealed_bytes(config: Config) -> Panel:
    return Panel(
        "unsealed-bytes",
        Text("Bytes in the segment log only", "仅在日志中的数据"),
        Text("What two seconds bring, 0 at rest.", "约两秒的数据量，空闲时为 0。"),
        Unit.BYTES,
        (Query(storing.unsealed_bytes(config), "{{site}}"),),
    )


def sealed(config: Config) -> Panel:
    return Panel(
        "sealed",
        Text("Packs sealed a second", "每秒打包"),
        Text("Follows what is received.", "随接收量起伏。"),
        Unit.PER_SECOND,
        (Query(storing.sealed_packs(config), "{{site}}"),),
    )


def pack_size(config: Config) -> Panel:
    return Panel(
        "pack-size",
        Text("Mean pack", "平均包大小"),
        Text(
            "Megabytes from CT and MR. Kilobytes everywhere: a device associates for each image.",
            "CT、MR 为数兆字节；若普遍只有数千字节，说明设备逐幅建立连接。",
        ),
        Unit.BYTES,
        (Query(storing.pack_size(config), "{{site}}"),),
    )


def committed(config: Config) -> Panel:
    return Panel(
        "committed",
        Text("Instances committed a second", "每秒入库影像"),
        Text("Nearly all added; duplicates are resends.", "绝大多数为新增；重复为重发。"),
        Unit.PER_SECOND,
        (Query(storing.committed(config), "{{result}}"),),
    )


def failed_steps(config: Config) -> Panel:
    return Panel(
        "failed-steps",
        Text("Steps tried again", "重试的步骤"),
        Text(
            "0. Nothing is lost: what failed is tried until it works.",
            "应为 0；失败会自动重试，不丢数据。",
        ),
        Unit.PER_SECOND,
        (Query(storing.failed_steps(config), "{{site}} {{step}}"),),
    )


def unreadable(config: Config) -> Panel:
    return Panel(
        "unreadable",
        Text("Unreadable in a day", "每日无法解析"),
        Text("0. Kept as received, indexed by UID alone.", "应为 0；原样保存，仅按 UID 索引。"),
        Unit.COUNT,
        (
            Query(storing.unreadable_headers(config, "1d"), "header {{site}}"),
            Query(storing.quarantined(config, "1d"), "quarantined {{site}}"),
        ),
    )


def connections(config: Config) -> Panel:
    return Panel(
        "connections",
        Text("Connections at the gateway", "网关连接数"),
        Text(
            "`waiting` carries most: viewers keep connections.",
            "大多数为 waiting（保持连接）。",
        ),
        Unit.COUNT,
        (Query(reading.connections(config), "{{state}}"),),
    )


def queue_packs(config: Config) -> Panel:
    return Panel(
        "queue-packs",
        Text("Packs without receipt", "未回执的数据包"),
        Text("A handful for seconds.", "数个，持续数秒。"),
        Unit.COUNT,
        (Query(branches.queue_packs(config), "{{site}}"),),
    )


def forwarded_packs(config: Config) -> Panel:
    return Panel(
        "forwarded-packs",
        Text("Packs forwarded a second", "每秒上传数据包"),
        Text("Equal to packs sealed.", "与打包速率一致。"),
        Unit.PER_SECOND,
        (Query(branches.forwarded_packs(config), "{{site}}"),),
    )


def drain(config: Config) -> Panel:
    return Panel(
        "drain",
        Text("Queue empty in", "清空队列所需时间"),
        Text("Seconds; nothing is drawn while it stands still.", "数秒；停滞时不绘制。"),
        Unit.SECONDS,
        (Query(branches.drain_seconds(config), "{{site}}"),),
        threshold=Threshold(3600, config.drain_warning_seconds),
    )


def put(config: Config) -> Panel:
    return Panel(
        "put",
        Text("Time from first byte to receipts", "上传至回执的时间"),
        Text(
            "p95 of a pack: its size over the line's rate, plus less than a second.",
            "p95 约为包大小除以带宽，再加不到一秒。",
        ),
        Unit.SECONDS,
        (Query(branches.put_quantile(config, 0.95), "p95 {{site}}"),),
    )


def failed_attempts(config: Config) -> Panel:
    return Panel(
        "failed-attempts",
        Text("Attempts that failed", "失败的上传尝试"),
        Text("0 while the line is up; each is repeated.", "线路正常时为 0；会自动重试。"),
        Unit.PER_SECOND,
        (Query(branches.failed_attempts(config), "{{site}} {{reason}}"),),
    )


def receipt_age(config: Config) -> Panel:
    return Panel(
        "receipt-age",
        Text("Since the last receipt, while packs wait", "距上次回执时间（有待传时）"),
        Text("Seconds, or nothing drawn.", "数秒，或不绘制。"),
        Unit.SECONDS,
        (Query(branches.receipt_age(config), "{{site}}"),),
        threshold=Threshold(config.queue_age_warning_seconds, config.queue_age_critical_seconds),
    )


def receipts(config: Config) -> Panel:
    return Panel(
        "receipts",
        Text("Receipts verified a second", "每秒验证回执"),
        Text("Equal to instances received.", "与接收影像数一致。"),
        Unit.PER_SECOND,
        (Query(branches.verified_receipts(config), "{{site}}"),),
    )


def distrust(config: Config) -> Panel:
    return Panel(
        "distrust",
        Text(
            "Refused packs, rejected receipts, failed renewals in a day",
            "每日拒收包、无效回执、证书更新失败",
        ),
        Text("0 of each.", "均应为 0。"),
        Unit.COUNT,
        (
            Query(branches.refused_packs(config, "1d"), "packs {{site}} {{reason}}"),
            Query(branches.rejected_receipts(config, "1d"), "receipts {{site}} {{reason}}"),
            Query(branches.failed_renewals(config, "1d"), "renewals {{site}} {{reason}}"),
        ),
        threshold=Threshold(0.5, 1),
    )


def ledger(config: Config) -> Panel:
    return Panel(
        "ledger",
        Text("Packs the ledger has not caught up with", "账本滞后的数据包"),
        Text(
            "0. Receipts are files and safe; rows follow.",
            "应为 0；回执以文件保存，数据库随后更新。",
        ),
        Unit.COUNT,
        (Query(branches.ledger_behind(config), "{{site}}"),),
    )


def database(config: Config) -> Panel:
    return Panel(
        "database",
        Text("Standbys behind the primary", "数据库备机延迟"),
        Text("Below 1 s.", "低于 1 秒。"),
        Unit.SECONDS,
        (Query(platform.database_lag_seconds(config), "{{instance}}"),),
        threshold=Threshold(1, 30),
    )


def ceph(config: Config) -> Panel:
    return Panel(
        "ceph",
        Text("Ceph: health, disks down", "Ceph 状态与离线磁盘"),
        Text("0 and 0. Health 1 is a warning, 2 an error.", "均为 0；1 为警告，2 为错误。"),
        Unit.COUNT,
        (
            Query(platform.object_store_health(config), "health"),
            Query(platform.object_store_daemons_down(config), "disks down"),
        ),
        threshold=Threshold(1, 2),
    )
