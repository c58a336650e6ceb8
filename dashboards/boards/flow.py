"""The flow in detail: where images are between the modality's success and the receipt."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Board, Row, Text
from dashboards.panels import branches, platform, reading, storing


def flow(config: Config) -> Board:
    """For whoever looks into an alert: receiving, packing, forwarding, trust, ground."""
    return Board(
        uid="pacs-flow",
        title=Text("Regional PACS: the flow in detail", "区域影像平台：数据流详情"),
        rows=(
            Row(
                Text("Receiving and packing", "接收与打包"),
                (
                    storing.c_store(config),
                    storing.associations(config),
                    storing.received_bytes(config),
                    storing.unsealed_bytes(config),
                    storing.sealed(config),
                    storing.pack_size(config),
                    storing.committed(config),
                    storing.failed_steps(config),
                    storing.second_copy(config),
                    storing.second_copies(config),
                    storing.unreadable(config),
                    storing.buried(config),
                    storing.check_differences(config),
                    storing.check_age(config),
                    reading.connections(config),
                    reading.rendering(config),
                    reading.rendering_failures(config),
                ),
            ),
            Row(
                Text("Reading in detail", "调阅详情"),
                (
                    reading.read_sources(config),
                    reading.read_decisions(config),
                    reading.built_metadata(config),
                ),
            ),
            Row(
                Text("Forwarding and receipts", "上传与回执"),
                (
                    branches.queue_packs(config),
                    branches.forwarded_packs(config),
                    branches.drain(config),
                    branches.put(config),
                    branches.failed_attempts(config),
                    branches.receipt_age(config),
                    branches.receipts(config),
                    branches.distrust(config),
                    branches.ledger(config),
                    branches.figures_behind(config),
                ),
            ),
            Row(
                Text("Ground in detail", "基础详情"),
                (
                    platform.restarts(config),
                    platform.processors(config),
                    platform.memory(config),
                    platform.database(config),
                    platform.ceph(config),
                ),
            ),
        ),
    )
