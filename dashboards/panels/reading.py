"""Reading: are doctors served, and by what."""

from __future__ import annotations

from dashboards.config import Config
from dashboards.model import Panel, Query, Text, Threshold, Unit
from dashboards.queries import reading


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


def read_sources(config: Config) -> Panel:
    return Panel(
        "read-sources",
        Text("Where retrieved bytes come from", "调阅数据来源"),
        Text(
            "`cache` carries most while doctors scroll; `broken` stays at 0: the store ended in the middle of an answer.",
            "翻阅时多数来自 cache；broken 应为 0：存储在应答途中断开。",
        ),
        Unit.PER_SECOND,
        (Query(reading.sources(config), "{{source}}"),),
    )


def read_decisions(config: Config) -> Panel:
    return Panel(
        "read-decisions",
        Text("Decisions behind retrievals", "调阅前的判定"),
        Text(
            "`kept` carries nearly all token checks; `fetched` follows the number of series that are opened.",
            "令牌检查几乎全为 kept；fetched 随打开的序列数变化。",
        ),
        Unit.PER_SECOND,
        (
            Query(reading.token_checks(config), "token {{result}}"),
            Query(reading.series_maps(config), "map {{result}}"),
        ),
    )


def rendering(config: Config) -> Panel:
    return Panel(
        "rendering",
        Text("Rendered images", "图像渲染耗时"),
        Text(
            "p95 below 1 s. Above it with `busy` jobs in the archive: more rendering_workers.",
            "p95 低于 1 秒；若归档出现 busy，请增加 rendering_workers。",
        ),
        Unit.SECONDS,
        (Query(reading.rendering_quantile(config, 0.95), "p95 {{site}}"),),
        threshold=Threshold(1.0, 10.0),
    )


def rendering_failures(config: Config) -> Panel:
    return Panel(
        "rendering-failures",
        Text("Rendering workers that ended", "渲染进程异常"),
        Text(
            "Flat at 0. `crashed`, `timeout`: a damaged image; `busy`: too few rendering_workers.",
            "应为 0；crashed、timeout 多为图像损坏，busy 表示渲染进程不足。",
        ),
        Unit.PER_SECOND,
        (Query(reading.rendering_failures(config), "{{outcome}}"),),
    )


def built_metadata(config: Config) -> Panel:
    return Panel(
        "built-metadata",
        Text("Metadata of series made ready", "已备好元数据的序列"),
        Text(
            "Follows the series that arrive. 0 while images come in: the first reader of each waits for it.",
            "随到达的序列变化；有图像到达却为 0 时，首次调阅会变慢。",
        ),
        Unit.PER_SECOND,
        (Query(reading.built_metadata(config), "{{site}}"),),
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
