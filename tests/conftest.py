"""What holds for every test."""

import pytest
from hypothesis import HealthCheck, settings

# A slow moment of the machine is not a failing example: time is measured by the benchmarks.
settings.register_profile("pacs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pacs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is quick comes first, the region last: its `up` needs the machine for itself."""
    items.sort(key=lambda item: ("region" in item.keywords, "integration" in item.keywords))
