"""The memory index under the contract of tombstones."""

import pytest

from services.archive.adapters.memory_index import MemoryIndex
from tests.services.archive.tombstones.contract_tombstones import TombstoneContract


class TestMemoryTombstones(TombstoneContract):
    """See `TombstoneContract`."""

    @pytest.fixture
    def index(self) -> MemoryIndex:
        return MemoryIndex()
