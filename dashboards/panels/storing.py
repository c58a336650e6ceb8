"""Storing: from the modality's success to object and row."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Panel, Query, Text, Threshold, Unit
from dashboards.queries import reading, storing


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


def second_copy(config: Config) -> Panel:
    return Panel(
        "second_copy",
        Text("Age of the oldest pack without a second copy", "最旧未异地备份数据包的等待时间"),
        Text(
            "Below a minute. Growing: the second site does not answer, or the line to it is full. 0 where there is none.",
            "应低于一分钟；持续增长说明异地站点无响应或线路已满；未配置时为 0。",
        ),
        Unit.SECONDS,
        (Query(storing.second_copy_age(config), "{{site}}"),),
        threshold=Threshold(600, config.second_copy_warning_seconds),
    )


def second_copies(config: Config) -> Panel:
    return Panel(
        "second_copies",
        Text("Packs without a second copy, and copying", "未异地备份的数据包与复制速率"),
        Text("0 waiting; failed copies: never.", "等待数应为 0；不应有失败。"),
        Unit.COUNT,
        (
            Query(storing.second_copy_waiting(config), "waiting {{site}}"),
            Query(storing.second_copied(config), "{{outcome}} a second"),
        ),
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


def buried(config: Config) -> Panel:
    return Panel(
        "buried",
        Text("Deleted and rejected in a day", "每日删除与拒绝影像"),
        Text(
            "What people decided: a sudden rise is a mistake or a misuse. By code of the rejection (DICOM CID 7011).",
            "由人员决定；突增意味着误操作或滥用。按拒绝代码（DICOM CID 7011）统计。",
        ),
        Unit.COUNT,
        (Query(storing.buried(config, "1d"), "{{site}} {{code}}"),),
    )


def check_differences(config: Config) -> Panel:
    return Panel(
        "check-differences",
        Text("Differences of index and bucket", "索引与对象存储差异"),
        Text(
            "0. What the last ./pacs archive check found: bytes or rows are missing or altered.",
            "应为 0；最近一次 ./pacs archive check 发现数据或索引缺失、被改动。",
        ),
        Unit.COUNT,
        (Query(storing.check_differences(config), "{{site}}"),),
        kind="figure",
        threshold=Threshold(0.5, 1),
    )


def check_age(config: Config) -> Panel:
    return Panel(
        "check-age",
        Text("Age of the last check", "距上次核对时间"),
        Text("Below 31 days where checks are made each month.", "每月核对时应低于 31 天。"),
        Unit.SECONDS,
        (Query(storing.check_age(config), "{{site}}"),),
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
