"""Receipts on disk, and the highest centre epoch they have named (contracts sections 8 and 12)."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.common.durable import replace_file, sync_directory

_FILE = re.compile(r"([0-9a-f]{64})\.jws")


class ReceiptStore:
    """One file a pack, written whole, a receipt a line.

    The epoch lies beside them, so that a receipt of an older centre is known for stale after a restart too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._epoch_file = directory / "epoch"
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, pack_id: str) -> Path:
        """Where the receipts of a pack lie or will lie."""
        return self._directory / pack_id[:2] / f"{pack_id}.jws"

    def has(self, pack_id: str) -> bool:
        """Whether receipts of this pack are stored."""
        return self.path(pack_id).exists()

    def save(self, pack_id: str, receipts: Sequence[str]) -> Path:
        """Store verified receipts; durable when this returns. Raises OSError (no room, for one)."""
        path = self.path(pack_id)
        if not path.parent.exists():
            path.parent.mkdir(exist_ok=True)
            sync_directory(self._directory)
        replace_file(path, "".join(f"{receipt}\n" for receipt in receipts).encode("ascii"), 0o644)
        return path

    def load(self, pack_id: str) -> list[str]:
        """The receipts of a pack, as stored. Raises FileNotFoundError."""
        return self.path(pack_id).read_text(encoding="ascii", errors="replace").splitlines()

    def pack_ids(self) -> Iterator[str]:
        """Every pack that has receipts."""
        for group in sorted(self._directory.glob("[0-9a-f][0-9a-f]")):
            for file in os.scandir(group):
                if match := _FILE.fullmatch(file.name):
                    yield match[1]

    @property
    def epoch(self) -> int:
        """The highest centre epoch that a verified receipt has named; 0 before the first."""
        try:
            return int(self._epoch_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def raise_epoch(self, epoch: int) -> None:
        """Remember `epoch` if it is higher than what is known; it never goes down."""
        with self._lock:
            if epoch <= self.epoch:
                return
            replace_file(self._epoch_file, f"{epoch}\n".encode("ascii"), 0o644)
