"""Branches: what waits for the line, what was receipted, and the right to connect."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Panel, Query, Text, Threshold, Unit
from dashboards.queries import branches


def queue_age(config: Config) -> Panel:
    return Panel(
        "queue-age",
        Text("Oldest pack without receipt", "最早未回执数据的等待时间"),
        Text(
            "Seconds while the line is up. It climbs while a branch is cut off and falls when it returns.",
            "线路正常时为数秒；断网时上升，恢复后回落。",
        ),
        Unit.SECONDS,
        (Query(branches.queue_age(config), "{{site}}"),),
        threshold=Threshold(config.queue_age_warning_seconds, config.queue_age_critical_seconds),
    )


def queue_bytes(config: Config) -> Panel:
    return Panel(
        "queue-bytes",
        Text("Bytes to go", "待传数据量"),
        Text(
            "Saw teeth near 0. A slope means the line carries less than the scanners make.",
            "接近 0 的锯齿；持续上升表示线路带宽不足。",
        ),
        Unit.BYTES,
        (Query(branches.queue_bytes(config), "{{site}}"),),
    )


def forwarding(config: Config) -> Panel:
    return Panel(
        "forwarding",
        Text("Forwarded", "上传速率"),
        Text(
            "What the scanners make, or the line's rate while a queue drains.",
            "与设备产生的数据量一致；补传时达到线路带宽。",
        ),
        Unit.BYTES_PER_SECOND,
        (Query(branches.forwarded_bytes(config), "{{site}}"),),
    )


def line(config: Config) -> Panel:
    return Panel(
        "line",
        Text("Line to the centre", "与中心的连接"),
        Text(
            "1 for every site; a missing line is a site that cannot report.",
            "各分院均为 1；缺失表示该分院无法上报。",
        ),
        Unit.COUNT,
        (Query(branches.centre_reachable(config), "{{site}}"),),
        threshold=Threshold(0.99, 0.5, above=False),
    )


def certificates(config: Config) -> Panel:
    return Panel(
        "certificates",
        Text("Certificates end in", "证书剩余时间"),
        Text(
            "Saw teeth above 21 days: renewal happens by itself, long before.",
            "高于 21 天的锯齿；系统会提前自动更新。",
        ),
        Unit.SECONDS,
        (Query(branches.certificate_seconds(config), "{{site}}"),),
        threshold=Threshold(
            config.certificate_warning_seconds, config.certificate_critical_seconds, above=False
        ),
    )


def set_aside(config: Config) -> Panel:
    return Panel(
        "set-aside",
        Text("Packs in quarantine", "隔离的数据包"),
        Text(
            "0. Each one is images the centre refused: nothing is lost, someone must look.",
            "应为 0；隔离的影像未丢失，但需人工处理。",
        ),
        Unit.COUNT,
        (Query(branches.quarantine(config), "{{site}}"),),
        threshold=Threshold(0.5, 0.5),
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


def figures_behind(config: Config) -> Panel:
    return Panel(
        "figures-behind",
        Text("Figures behind those of the branch", "分院指标上报延迟"),
        Text(
            "Seconds. After a cut it falls; what was older than two hours stays at the branch.",
            "数秒；断网恢复后回落，早于两小时的指标仅保留在分院。",
        ),
        Unit.SECONDS,
        (Query(branches.figures_behind_seconds(config), "{{site}}"),),
        threshold=Threshold(120, 3600),
    )
