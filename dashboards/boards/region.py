"""The region at a glance: are doctors served, is nothing stuck, is there room."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Board, Panel, Query, Row, Text, Threshold, Unit
from dashboards.queries import branches, platform, reading, storing


def region(config: Config) -> Board:
    """Top to bottom in the order of urgency: readers, branches, storing, ground."""
    return Board(
        uid="pacs-region",
        title=Text("Regional PACS", "区域影像平台"),
        rows=(
            Row(
                Text("Reading: are doctors served?", "调阅：医生能否顺利看图"),
                (read_errors(config), read_slow(config), read_rate(config), read_latency(config)),
            ),
            Row(
                Text("Branches: does everything reach the centre?", "分院：影像是否都已到达中心"),
                (
                    queue_age(config),
                    queue_bytes(config),
                    forwarding(config),
                    line(config),
                    certificates(config),
                    set_aside(config),
                ),
            ),
            Row(
                Text("Storing: is every image safe and indexed?", "存储：影像是否安全入库"),
                (
                    received(config),
                    unsealed(config),
                    waiting(config),
                    commits(config),
                    refused(config),
                    conflicts(config),
                ),
            ),
            Row(
                Text("Ground: is there room, and does everything run?", "基础：空间与部件"),
                (targets(config), dependencies(config), disks(config), object_store(config)),
            ),
        ),
    )


def read_errors(config: Config) -> Panel:
    return Panel(
        "read-errors",
        Text("Failed reads", "调阅失败率"),
        Text("Flat at 0. The budget of a month is 0.1 %.", "应为 0；每月允许 0.1%。"),
        Unit.SHARE,
        (Query(reading.error_ratio(config, config.rate_window), "5xx"),),
        kind="figure",
        threshold=Threshold(0.001, 0.01),
        width=1,
    )


def read_slow(config: Config) -> Panel:
    return Panel(
        "read-slow",
        Text("Reads slower than 1 s", "超过 1 秒的调阅"),
        Text("Below 1 %: a frame from the cache takes milliseconds.", "低于 1%；缓存中的图像只需数毫秒。"),
        Unit.SHARE,
        (Query(reading.slow_ratio(config, config.rate_window), "> 1 s"),),
        kind="figure",
        threshold=Threshold(0.01, 0.05),
        width=1,
    )


def read_rate(config: Config) -> Panel:
    return Panel(
        "read-rate",
        Text("Reads a second", "每秒调阅请求"),
        Text(
            "Follows the working day; 2xx carries nearly all. 4xx in numbers: a client with an old token.",
            "随工作时间起伏，几乎全为 2xx；4xx 增多通常是令牌过期。",
        ),
        Unit.PER_SECOND,
        (Query(reading.requests(config), "{{class}}"),),
    )


def read_latency(config: Config) -> Panel:
    return Panel(
        "read-latency",
        Text("Time to the last byte", "响应时间"),
        Text(
            "Gateway p95 below 1 s. Archive well below it: then the cache works.",
            "网关 p95 低于 1 秒；归档更低，说明缓存有效。",
        ),
        Unit.SECONDS,
        (
            Query(reading.quantile(config, 0.5), "gateway p50"),
            Query(reading.quantile(config, 0.95), "gateway p95"),
            Query(reading.archive_quantile(config, 0.95), "archive p95 {{site}}"),
        ),
        threshold=Threshold(1.0, 5.0),
        width=4,
    )


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


def received(config: Config) -> Panel:
    return Panel(
        "received",
        Text("Instances acknowledged a second", "每秒接收影像"),
        Text(
            "Follows the examinations; silence at noon on a working day is a question.",
            "随检查量起伏；工作日中午归零需查明原因。",
        ),
        Unit.PER_SECOND,
        (Query(storing.received_instances(config), "{{site}} {{interface}}"),),
    )


def unsealed(config: Config) -> Panel:
    return Panel(
        "unsealed",
        Text("Oldest byte not yet in a pack", "最早未打包数据"),
        Text(
            "Below 3 s under load, 0 at rest: sealing follows the modality at once.",
            "有数据时低于 3 秒，空闲时为 0。",
        ),
        Unit.SECONDS,
        (Query(storing.unsealed_age(config), "{{site}}"),),
        threshold=Threshold(5, config.unsealed_age_seconds),
    )


def waiting(config: Config) -> Panel:
    return Panel(
        "waiting",
        Text("Packs waiting for store or index", "等待入库的数据包"),
        Text(
            "0, at most a handful for seconds. A plateau: Ceph or PostgreSQL does not answer.",
            "应为 0；持续不降说明 Ceph 或 PostgreSQL 无响应。",
        ),
        Unit.COUNT,
        (Query(storing.uncommitted_packs(config), "{{site}}"),),
        threshold=Threshold(10, 100),
    )


def commits(config: Config) -> Panel:
    return Panel(
        "commits",
        Text("Time to commit a pack", "数据包入库时间"),
        Text("p95 below 2 s at the centre.", "中心 p95 低于 2 秒。"),
        Unit.SECONDS,
        (
            Query(storing.commit_quantile(config, 0.95), "p95 {{site}}"),
            Query(reading.store_quantile(config, 0.95), "store {{operation}} p95"),
        ),
        threshold=Threshold(2, 10),
    )


def refused(config: Config) -> Panel:
    return Panel(
        "refused",
        Text("Refusals a second", "拒收"),
        Text(
            "Near 0. A700 and no-room are a full disk; others are senders that are not registered.",
            "接近 0；A700、no-room 表示磁盘已满，其余多为未登记设备。",
        ),
        Unit.PER_SECOND,
        (Query(storing.refused(config), "{{site}} {{reason}}"),),
    )


def conflicts(config: Config) -> Panel:
    return Panel(
        "conflicts",
        Text("Conflicts in a day", "每日冲突影像"),
        Text(
            "0. Two contents under one SOP Instance UID: both are kept, the modality must be mended.",
            "应为 0；同一 UID 出现不同内容，均已保留，需检修设备。",
        ),
        Unit.COUNT,
        (Query(storing.conflicts(config, "1d"), "{{site}}"),),
        kind="figure",
        threshold=Threshold(0.5, 50),
    )


def targets(config: Config) -> Panel:
    return Panel(
        "targets",
        Text("Parts that answer", "部件在线率"),
        Text("1 for every job.", "各部件均为 1。"),
        Unit.SHARE,
        (Query(platform.targets_up_share(config), "{{job}} {{site}}"),),
        threshold=Threshold(0.99, 0.5, above=False),
    )


def dependencies(config: Config) -> Panel:
    return Panel(
        "dependencies",
        Text("Store and index answer the archive", "归档的依赖"),
        Text("1 for each; 0 stops reading, not receiving.", "均为 1；为 0 时影响调阅，不影响接收。"),
        Unit.COUNT,
        (Query(platform.dependency(config), "{{site}} {{dependency}}"),),
        threshold=Threshold(0.99, 0.5, above=False),
    )


def disks(config: Config) -> Panel:
    return Panel(
        "disks",
        Text("Free room on disks", "磁盘剩余空间"),
        Text(
            "Above 15 %. At 5 % a branch begins to refuse (A700) and loses nothing.",
            "高于 15%；低于 5% 时分院开始拒收（A700），不丢数据。",
        ),
        Unit.SHARE,
        (Query(platform.disk_free_share(config), "{{instance}} {{mountpoint}}"),),
        threshold=Threshold(config.disk_warning_free, config.disk_critical_free, above=False),
    )


def object_store(config: Config) -> Panel:
    return Panel(
        "object-store",
        Text("Object store in use", "对象存储使用率"),
        Text(
            "Below 75 %: above it, order disks; Ceph stops at 95 %.",
            "低于 75%；超过应扩容，95% 时 Ceph 停止写入。",
        ),
        Unit.SHARE,
        (Query(platform.object_store_used_share(config), "used"),),
        threshold=Threshold(config.object_store_warning_used, 0.85),
    )
