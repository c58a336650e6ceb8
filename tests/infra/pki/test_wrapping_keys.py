from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.pki.private_files import PkiError
from infra.pki.wrapping_keys import ensure_wrapping_keys, load_wrapping_keys, path_in, save_wrapping_keys

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PASSPHRASE = b"a passphrase of the state"


def test_wrapping_keys_are_made_once_and_lie_sealed_for_the_owner_alone(tmp_path: Path) -> None:
    made = ensure_wrapping_keys(tmp_path, PASSPHRASE, "local", NOW)
    assert ensure_wrapping_keys(tmp_path, PASSPHRASE, "local", NOW + timedelta(days=1)) == made
    content = path_in(tmp_path).read_bytes()
    assert made.current.material not in content
    assert base64.b64encode(made.current.material) not in content
    assert stat.S_IMODE(path_in(tmp_path).stat().st_mode) == 0o600


def test_a_rotated_set_is_kept_whole(tmp_path: Path) -> None:
    rotated = ensure_wrapping_keys(tmp_path, PASSPHRASE, "local", NOW).rotated("2026-02-01T00:00:00.000000Z")
    save_wrapping_keys(tmp_path, PASSPHRASE, rotated)
    assert load_wrapping_keys(tmp_path, PASSPHRASE, "local") == rotated


def test_another_passphrase_makes_no_new_keys_in_the_place_of_the_old(tmp_path: Path) -> None:
    ensure_wrapping_keys(tmp_path, PASSPHRASE, "local", NOW)
    before = path_in(tmp_path).read_bytes()
    with pytest.raises(PkiError, match="cannot be opened"):
        ensure_wrapping_keys(tmp_path, b"another passphrase", "local", NOW)
    assert path_in(tmp_path).read_bytes() == before


def test_keys_of_another_region_are_refused(tmp_path: Path) -> None:
    ensure_wrapping_keys(tmp_path, PASSPHRASE, "elsewhere", NOW)
    with pytest.raises(PkiError, match="'elsewhere', not of 'local'"):
        ensure_wrapping_keys(tmp_path, PASSPHRASE, "local", NOW)


def test_missing_keys_are_told_with_the_way_back(tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="keys restore"):
        load_wrapping_keys(tmp_path, PASSPHRASE, "local")
