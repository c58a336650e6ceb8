"""What the plays of a run did, from the event files that they write (`<state>/logs/<play>.events.jsonl`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PlayRun:
    """One run of a play: `mode` is check (nothing changed) or apply, `changed` counts tasks that changed."""

    play: str
    mode: str
    changed: int
    return_code: int


def runs_since(logs: Path, begun: datetime) -> list[PlayRun]:
    """Every run of a play that finished after `begun`, oldest first."""
    found = [event for file in sorted(logs.glob("*.events.jsonl")) for event in _events(file)]
    finished = [event for event in found if event.get("event") == "finished" and _at(event) >= begun]
    return [
        PlayRun(str(event["play"]), str(event["mode"]), int(event["changed"]), int(event["return_code"]))
        for event in sorted(finished, key=_at)
    ]


def _events(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if isinstance(event, dict) and "at" in event:
            yield event


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])
