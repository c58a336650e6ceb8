"""The watch over secrets sees what it is there to see; needs no region."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.pki.private_files import clear_pem, ensure_secret, load_key, write_private
from infra.pki.tokens import ensure_token_key
from infra.pki.wrapping_keys import ensure_wrapping_keys
from tests.region.disclosure import CommandLines, files_with_any, needles

PASSPHRASE = b"a passphrase for tests only"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    write_private(directory / "passphrase", PASSPHRASE)
    ensure_token_key(directory / "pki", PASSPHRASE)
    ensure_secret(directory / "pki/gateway.key")
    return directory


def test_a_key_is_recognised_in_json_whether_it_is_encrypted_or_in_clear(secrets: Path) -> None:
    pieces = needles(secrets)
    path = secrets / "pki/tokens.key"
    for leak in (path.read_text(), clear_pem(load_key(path, PASSPHRASE)).decode()):
        state = json.dumps({"outputs": {"key": leak}})
        assert leak.strip() not in state
        assert [piece for piece in pieces if piece in state] != []


def test_a_password_is_recognised_and_ordinary_text_is_not(secrets: Path) -> None:
    pieces = needles(secrets)
    assert PASSPHRASE.decode() in pieces
    assert (secrets / "pki/gateway.key").read_text().strip() in pieces
    assert not [
        piece for piece in pieces if piece in Path(__file__).read_text().replace(PASSPHRASE.decode(), "")
    ]


def test_a_wrapping_key_is_recognised_in_clear(secrets: Path) -> None:
    keys = ensure_wrapping_keys(secrets / "pki", PASSPHRASE, "local", datetime(2026, 1, 1, tzinfo=UTC))
    state = json.dumps({"outputs": {"wrapping-keys.json": keys.document().decode()}})
    assert [piece for piece in needles(secrets) if piece in state] != []


def test_a_secret_on_a_command_line_is_seen_and_only_the_program_is_told(secrets: Path) -> None:
    pieces = needles(secrets)
    secret = (secrets / "pki/gateway.key").read_text().strip()
    with (
        CommandLines() as lines,
        subprocess.Popen(
            [sys.executable, "-c", "input()", secret], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as leaking,
    ):
        assert leaking.stdin is not None
        while not lines.with_any({secret}):
            assert leaking.poll() is None
        leaking.stdin.write(b"\n")
    assert lines.with_any(pieces) == [sys.executable]


def test_files_that_hold_a_piece_are_named_and_no_others(secrets: Path, tmp_path: Path) -> None:
    pieces = needles(secrets)
    logs = tmp_path / "logs"
    (logs / "old").mkdir(parents=True)
    (logs / "up.log").write_text("nothing to see\n")
    assert files_with_any(pieces, logs) == []
    (logs / "old/up.log").write_bytes(b"\0binary " + PASSPHRASE + b" more")
    assert files_with_any(pieces, logs) == [str(logs / "old/up.log")]
