"""The memory index keeps the index's contract."""

import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.ports import Index
from tests.services.archive.contract_index import IndexContract


class TestMemoryIndex(IndexContract):
    """`MemoryIndex` under the contract."""

    @pytest.fixture
    def index(self) -> Index:
        return MemoryIndex()
