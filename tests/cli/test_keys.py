"""`./pacs keys`: the escrow holds what is needed, opens with its passphrase alone, and brings everything back."""

from __future__ import annotations

import json
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli import main
from cli.engine.workspace import Layout
from cli.exit_codes import ExitCode
from infra.pki import sealed
from infra.pki.private_files import write_private
from infra.pki.wrapping_keys import ensure_wrapping_keys, load_wrapping_keys, path_in, save_wrapping_keys
from services.archive.encryption.wrapping_keys import WrappingKeys

PASSPHRASE = b"sixteen characters and more"
LATER = "2026-02-01T00:00:00.000000Z"


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
    current = held(layout).current
    assert json.loads(shown)["wrapping_keys"] == [{"id": current.key_id, "created_at": current.created_at}]
