"""The in-memory object store keeps the contract."""

import pytest

from services.archive.adapters.memory_store import MemoryStore
from tests.services.archive.contract_object_store import ObjectStoreContract


class TestMemoryStore(ObjectStoreContract):
    """See `ObjectStoreContract`."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
