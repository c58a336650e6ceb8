"""A ledger of what a memory index holds, for tests of upkeep without a database."""

from collections.abc import Collection

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.upkeep.ledger import PackRow, Place


class MemoryLedger:
    """`Ledger` over a `MemoryIndex`; `documents_known` are the keys of tombstones with rows."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index
        self.documents_known: list[str] = []

    def totals(self) -> tuple[int, int]:
        packs = self._index._packs.values()
        return len(packs), sum(pack.length for pack in packs)

    def packs(self, after: str, limit: int) -> list[PackRow]:
        rows = (PackRow(one.pack_id, one.object_key, one.length) for one in self._index._packs.values())
        return sorted((row for row in rows if row.object_key > after), key=lambda row: row.object_key)[:limit]

    def pack(self, object_key: str) -> PackRow | None:
        return next((row for row in self.packs("", 1 << 30) if row.object_key == object_key), None)

    def places(self, pack_ids: Collection[str]) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {pack_id: [] for pack_id in pack_ids}
        for row in (*self._index._rows.values(), *self._index._conflicts.values()):
            if row.pack.pack_id in found:
                one = row.instance
                found[row.pack.pack_id].append(
                    Place(one.sop_instance_uid, one.digest, one.offset, one.length)
                )
        return found

    def documents(self, after: str, limit: int) -> list[str]:
        return sorted(key for key in self.documents_known if key > after)[:limit]
