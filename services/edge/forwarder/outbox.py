"""The outbox: a hard link for each pack without receipts (contracts section 12); quarantine beside it.

Removing a link never removes a pack: the pack itself lies in `packs/`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from services.common.clock import Clock, rfc3339
from services.common.durable import replace_file, sync_directory
from services.edge.errors import PackRefused

_PACK = re.compile(r"([0-9a-f]{64})\.pack")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pack in the outbox; `since` is when its file was written, Unix seconds."""

    pack_id: str
    path: Path
    size: int
    since: float


class Outbox:
    """The directories `packs/`, `outbox/` and `quarantine/` under one root, on one file system."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.directory = root / "outbox"
        self.quarantine = root / "quarantine"
        self._packs = root / "packs"
        self._clock = clock
        for directory in (self.directory, self.quarantine, self._packs):
            directory.mkdir(parents=True, exist_ok=True)

    def waiting(self) -> Iterator[Waiting]:
        """What lies in the outbox now; other files there are left alone."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if not (match := _PACK.fullmatch(entry.name)):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed since the directory was read
                    continue
                yield Waiting(match[1], Path(entry.path), status.st_size, status.st_mtime)

    def rebuild(self, has_receipts: Callable[[str], bool]) -> int:
        """Link every pack that has neither receipts nor a place in quarantine; returns how many were missing.

        Run at start: the archive may have died between the pack and its link.
        """
        linked = 0
        for path in self.packs():
            pack_id = path.stem
            link = self.directory / path.name
            if link.exists() or self.is_quarantined(pack_id) or has_receipts(pack_id):
                continue
            try:
                os.link(path, link)
                linked += 1
            except FileExistsError:  # the archive was faster
                continue
        if linked:
            sync_directory(self.directory)
        return linked

    def packs(self) -> Iterator[Path]:
        """Every sealed pack of this site: `packs/<institution>/<first two>/<id>.pack`."""
        return (path for path in self._packs.glob("*/[0-9a-f][0-9a-f]/*.pack") if _PACK.fullmatch(path.name))

    def find(self, pack_id: str) -> Path | None:
        """The sealed pack of this id, wherever its institution's directory is; None when it is not here."""
        return next(iter(self._packs.glob(f"*/{pack_id[:2]}/{pack_id}.pack")), None)

    def done(self, pack_id: str) -> None:
        """Take the link away: its receipts are durable. A crash before this is mended at the next start."""
        (self.directory / f"{pack_id}.pack").unlink(missing_ok=True)
        for leftover in (self.quarantine / f"{pack_id}.pack", self.quarantine / f"{pack_id}.json"):
            leftover.unlink(missing_ok=True)  # it was refused once and has been taken since

    def set_aside(self, pack_id: str, refusal: PackRefused) -> None:
        """Move the link to quarantine with the reason beside it; durable when this returns."""
        reason = {
            "pack_id": pack_id,
            "refused_at": rfc3339(self._clock.now()),
            "reason": refusal.reason,
            "detail": refusal.detail,
            "problem": refusal.problem,
        }
        text = json.dumps(reason, indent=1, ensure_ascii=False, sort_keys=True)
        replace_file(self.quarantine / f"{pack_id}.json", text.encode("utf-8"), 0o644)
        link, place = self.directory / f"{pack_id}.pack", self.quarantine / f"{pack_id}.pack"
        if place.exists():  # refused before and put back by hand
            link.unlink(missing_ok=True)
        else:
            link.replace(place)
        sync_directory(self.quarantine)
        sync_directory(self.directory)

    def is_quarantined(self, pack_id: str) -> bool:
        """Whether this pack was set aside."""
        return (self.quarantine / f"{pack_id}.pack").exists()

    def quarantined(self) -> int:
        """How many packs support has to look at."""
        return sum(1 for entry in os.scandir(self.quarantine) if _PACK.fullmatch(entry.name))
