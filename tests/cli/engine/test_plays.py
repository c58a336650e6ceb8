"""The plays of one run, from the files they write."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from cli.engine.plays import PlayRun, runs_since


def finished(at: str, **changes: object) -> str:
    event = {"at": at, "play": "centre", "mode": "check", "event": "finished", "return_code": 0, "changed": 0}
    return json.dumps(event | changes)


def test_only_runs_that_ended_in_this_run_count(tmp_path: Path) -> None:
    (tmp_path / "centre.events.jsonl").write_text(
        "\n".join(
            [
                finished("2026-01-01T10:00:00.000+00:00", changed=7),
                finished("2026-01-01T12:00:05.000+00:00", mode="apply", changed=2),
                finished("2026-01-01T12:00:01.000+00:00"),
                '{"at": "2026-01-01T12:00:06.000+00:00", "play": "centre", "event": "task", "mode": "apply"}',
                '{"at": "2026-01-01T12:0',
            ]
        ),
        encoding="utf-8",
    )
    found = runs_since(tmp_path, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert found == [PlayRun("centre", "check", 0, 0), PlayRun("centre", "apply", 2, 0)]


def test_no_files_are_no_runs(tmp_path: Path) -> None:
    assert runs_since(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)) == []
