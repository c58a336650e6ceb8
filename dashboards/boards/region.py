"""The region at a glance: are doctors served, is nothing stuck, is there room."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Board, Row, Text
from dashboards.panels import branches, platform, reading, storing


def region(config: Config) -> Board:
    """Top to bottom in the order of urgency: readers, branches, storing, ground."""
    return Board(
        uid="pacs-region",
        title=Text("Regional PACS", "区域影像平台"),
        rows=(
            Row(
                Text("Reading: are doctors served?", "调阅：医生能否顺利看图"),
                (
                    reading.read_errors(config),
                    reading.read_slow(config),
                    reading.read_rate(config),
                    reading.read_latency(config),
                ),
            ),
            Row(
                Text("Branches: does everything reach the centre?", "分院：影像是否都已到达中心"),
                (
                    branches.queue_age(config),
                    branches.queue_bytes(config),
                    branches.forwarding(config),
                    branches.line(config),
                    branches.certificates(config),
                    branches.set_aside(config),
                ),
            ),
            Row(
                Text("Storing: is every image safe and indexed?", "存储：影像是否安全入库"),
                (
                    storing.received(config),
                    storing.unsealed(config),
                    storing.waiting(config),
                    storing.commits(config),
                    storing.refused(config),
                    storing.conflicts(config),
                ),
            ),
            Row(
                Text("Ground: is there room, and does everything run?", "基础：空间与部件"),
                (
                    platform.targets(config),
                    platform.dependencies(config),
                    platform.disks(config),
                    platform.object_store(config),
                ),
            ),
        ),
    )
