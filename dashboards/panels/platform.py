"""The ground: parts, disks, Ceph and PostgreSQL."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Panel, Query, Text, Threshold, Unit
from dashboards.queries import platform


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


def memory(config: Config) -> Panel:
    return Panel(
        "memory",
        Text("Free memory of hosts", "主机可用内存"),
        Text("Above 15 %, and level.", "高于 15%，且平稳。"),
        Unit.SHARE,
        (Query(platform.memory_free_share(config), "{{instance}}"),),
        threshold=Threshold(0.15, 0.05, above=False),
    )


def processors(config: Config) -> Panel:
    return Panel(
        "processors",
        Text("Busy processors of hosts", "主机处理器使用率"),
        Text("Follows the working day, below 80 %.", "随工作时间起伏，低于 80%。"),
        Unit.SHARE,
        (Query(platform.processors_busy_share(config), "{{instance}}"),),
        threshold=Threshold(0.8, 0.95),
    )


def restarts(config: Config) -> Panel:
    return Panel(
        "restarts",
        Text("Starts of parts in an hour", "部件每小时启动次数"),
        Text("0; 1 at an upgrade.", "应为 0；升级时为 1。"),
        Unit.COUNT,
        (Query(platform.restarts(config, "1h"), "{{job}} {{site}}"),),
        threshold=Threshold(2, config.restarts_warning),
    )
