"""What holds for every test."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from cli.test import EVERYTHING
from tests.figures import FIGURE, FIGURES

# A slow moment of the machine is not a failing example: time is measured by the benchmarks.
settings.register_profile("pacs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pacs")

THREE_NODES = "tests/region/test_three_nodes.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is quick comes first, the region last: its `up` needs the machine for itself."""
    items.sort(
        key=lambda item: (
            "region" in item.keywords, "integration" in item.keywords, item.nodeid.startswith(THREE_NODES)
        )
    )  # fmt: skip


class OneRegion(LoadFileScheduling):
    """A worker takes whole files, whose real processes are started once, and of the region all: there is but one.

    The three nodes are a region apart, for the other worker meanwhile.
    """

    def _split_scope(self, nodeid: str) -> str:
        scope = str(super()._split_scope(nodeid))
        return "region" if scope.startswith("tests/region/") and scope != THREE_NODES else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneRegion | None:
    """Hook of xdist: how `--dist loadfile` hands out tests."""
    return OneRegion(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips because it "needs ..." fails where everything was to be there."""
    report = yield
    if EVERYTHING in os.environ and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if reason.startswith("Skipped: needs "):
            report.outcome = "failed"
            report.longrepr = f"{reason}\n./pacs test --all has to bring it: toolchain/debian.txt"
    return report


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
