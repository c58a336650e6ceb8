"""How far a check came, so that one that was interrupted goes on; and what the last one found, for the metrics."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.archive.upkeep.check import Progress
from services.archive.upkeep.differences import Difference, Kind
from services.common.durable import replace_file

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Begun:
    """A check under way: how it was begun, and how far it is."""

    share: float
    seed: str
    progress: Progress


class Checkpoint:
    """Two small files in the spool; losing them costs a check from the beginning."""

    def __init__(self, spool: Path) -> None:
        self._directory = spool / "upkeep"
        self._under_way, self._last = self._directory / "check.json", self._directory / "last-check.json"

    def load(self) -> Begun | None:
        """The check to go on with; None where there is none, or none that this version can read."""
        document = self._read(self._under_way)
        try:
            raw = document["progress"]
            found = [
                Difference(Kind(one["kind"]), one["key"], one["detail"]) for one in raw.pop("differences")
            ]
            return Begun(float(document["share"]), str(document["seed"]), Progress(**raw, differences=found))
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def keep(self, begun: Begun) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        replace_file(self._under_way, json.dumps({"format": FORMAT, **asdict(begun)}).encode())

    def finish(self, begun: Begun, finished_at: float) -> None:
        """The check came to its end at this time (seconds since 1970)."""
        self._directory.mkdir(parents=True, exist_ok=True)
        summary = {"format": FORMAT, "differences": len(begun.progress.differences), "at": finished_at}
        replace_file(self._last, json.dumps(summary).encode())
        self.forget()

    def forget(self) -> None:
        self._under_way.unlink(missing_ok=True)

    def last_differences(self) -> float:
        """What the last finished check found; 0 before the first."""
        return self._number("differences")

    def last_finished(self) -> float:
        """When it was, in seconds since 1970; 0 before the first."""
        return self._number("at")

    def _number(self, name: str) -> float:
        try:
            return float(self._read(self._last)[name])
        except (KeyError, TypeError, ValueError):
            return 0.0

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) and document.get("format") == FORMAT else {}
