"""What most tests of the edge start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.edge.branch import HandClock, ReceiptOffice


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def office_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys are made once; encrypting them takes a moment each."""
    directory = tmp_path_factory.mktemp("office")
    ReceiptOffice(directory)
    return directory


@pytest.fixture
def office(office_directory: Path) -> ReceiptOffice:
    return ReceiptOffice(office_directory)
