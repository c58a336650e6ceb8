"""`./pacs keys`: the escrow holds what is needed, opens with its passphrase alone, and brings everything back."""

from __future__ import annotations

import base64
import json
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli import keys, main
from cli.engine.workspace import Layout
from cli.exit_codes import ExitCode
from infra.pki import sealed
from infra.pki.private_files import write_private
from infra.pki.wrapping_keys import ensure_wrapping_keys, load_wrapping_keys, path_in, save_wrapping_keys
from services.archive.encryption.wrapping_keys import WrappingKeys

PASSPHRASE = b"sixteen characters and more"
LATER = "2026-02-01T00:00:00.000000Z"


class ArchivePod:
    """The archive's answers in place of a cluster's; `asked` is what was run."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wrapped_by: list[str] = []

    def chore(self, _: Layout, name: str) -> dict[str, Any]:
        self.asked.append(name)
        one = {"institution": "yanan", "key_id": "k", "created_at": LATER, "wrapped_by": self.wrapped_by}
        return {"wrapping_keys": {}, "data_keys": [one]}


@pytest.fixture(autouse=True)
def pod(monkeypatch: pytest.MonkeyPatch) -> ArchivePod:
    made = ArchivePod()
    monkeypatch.setattr(keys, "chore", made.chore)
    return made


@pytest.fixture(autouse=True)
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A stack that was up."""
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sealed, "PERSON_COST", 4)
    layout = Layout("local")
    write_private(layout.passphrase, PASSPHRASE)
    ensure_wrapping_keys(layout.secrets / "pki", PASSPHRASE, "local", datetime(2026, 1, 1, tzinfo=UTC))
    (tmp_path / "passphrase").write_text("a long passphrase for the safe\n", encoding="utf-8")
    return layout


def held(layout: Layout) -> WrappingKeys:
    return load_wrapping_keys(layout.secrets / "pki", PASSPHRASE, "local")


def run(tmp_path: Path, *words: str) -> int:
    return main.main(["keys", *words, "--passphrase-file", str(tmp_path / "passphrase")])


def test_the_escrow_brings_back_lost_keys(layout: Layout, tmp_path: Path) -> None:
    before = held(layout)
    assert run(tmp_path, "escrow", "--file", str(tmp_path / "escrow")) == ExitCode.DONE
    assert stat.S_IMODE((tmp_path / "escrow").stat().st_mode) == 0o600
    assert before.current.material not in (tmp_path / "escrow").read_bytes()
    shutil.rmtree(layout.secrets / "pki")
    (layout.secrets / "pki").mkdir()
    assert run(tmp_path, "status") != ExitCode.DONE
    assert run(tmp_path, "restore", "--file", str(tmp_path / "escrow")) == ExitCode.DONE
    assert held(layout) == before


def test_restoring_gives_up_no_newer_key(layout: Layout, tmp_path: Path) -> None:
    assert run(tmp_path, "escrow", "--file", str(tmp_path / "escrow")) == ExitCode.DONE
    newer = held(layout).rotated(LATER).only_current()
    save_wrapping_keys(layout.secrets / "pki", PASSPHRASE, newer)
    assert run(tmp_path, "restore", "--file", str(tmp_path / "escrow")) == ExitCode.DONE
    assert held(layout).current == newer.current
    assert len(held(layout).keys) == 2


def test_another_passphrase_restores_nothing(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "escrow", "--file", str(tmp_path / "escrow")) == ExitCode.DONE
    path_in(layout.secrets / "pki").unlink()
    (tmp_path / "passphrase").write_text("another passphrase than that\n", encoding="utf-8")
    assert run(tmp_path, "restore", "--file", str(tmp_path / "escrow")) == ExitCode.FAILED
    assert "passphrase is another one" in " ".join(capsys.readouterr().err.split())
    assert not path_in(layout.secrets / "pki").exists()


def test_a_short_passphrase_and_a_file_that_is_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    assert run(tmp_path, "escrow", "--file", str(tmp_path / "there")) == ExitCode.USAGE
    (tmp_path / "passphrase").write_text("short\n", encoding="utf-8")
    assert run(tmp_path, "escrow", "--file", str(tmp_path / "escrow")) == ExitCode.USAGE
    assert not (tmp_path / "escrow").exists()


def test_an_escrow_that_is_not_named_or_not_there_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, "escrow") == ExitCode.USAGE
    assert run(tmp_path, "restore", "--file", str(tmp_path / "nowhere")) == ExitCode.USAGE


def test_status_names_the_keys_and_shows_none_of_them(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["keys", "status", "--json"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert base64.b64encode(held(layout).current.material).decode() not in shown
    current = held(layout).current
    assert json.loads(shown)["wrapping_keys"] == [{"id": current.key_id, "created_at": current.created_at}]


def test_a_rotation_adds_a_key_and_gives_up_the_old_one_only_when_nothing_needs_it(
    layout: Layout, tmp_path: Path, pod: ArchivePod
) -> None:
    old = held(layout).current
    assert run(tmp_path, "rotate") == ExitCode.DONE
    new, kept = held(layout).keys
    assert kept == old
    for wrapped_by in ([old.key_id], [old.key_id, new.key_id]):
        pod.wrapped_by = wrapped_by
        assert run(tmp_path, "rotate") == ExitCode.FAILED
        assert held(layout).keys == (new, old)
    pod.wrapped_by = [new.key_id]
    assert run(tmp_path, "rotate") == ExitCode.DONE
    assert held(layout).keys == (new,)


def test_data_keys_are_rotated_and_used_where_the_archive_runs(tmp_path: Path, pod: ArchivePod) -> None:
    assert run(tmp_path, "rotate-data") == ExitCode.DONE
    assert run(tmp_path, "reencrypt") == ExitCode.DONE
    assert pod.asked == ["rotate-keys", "reencrypt"]
