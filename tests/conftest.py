"""What holds for every test."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.figures import FIGURE, FIGURES

# A slow moment of the machine is not a failing example: time is measured by the benchmarks.
settings.register_profile("pacs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pacs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is quick comes first, the region last: its `up` needs the machine for itself."""
    items.sort(key=lambda item: ("region" in item.keywords, "integration" in item.keywords))


class OneRegion(LoadFileScheduling):
    """A worker takes whole files, whose real processes are started once, and of the region all: there is but one."""

    def _split_scope(self, nodeid: str) -> str:
        return "region" if nodeid.startswith("tests/region/") else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneRegion | None:
    """Hook of xdist: how `--dist loadfile` hands out tests."""
    return OneRegion(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """What a test measured travels with its report, from whatever process it ran in."""
    item.user_properties += [(FIGURE, line) for line in FIGURES]
    FIGURES.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures above the closing line, whether the tests passed or not."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [
        line for report in reports if getattr(report, "when", "") == "teardown"
        for name, line in report.user_properties if name == FIGURE
    ]  # fmt: skip
    if lines:
        terminalreporter.section("what was measured")
    for line in lines:
        terminalreporter.write_line(line)
