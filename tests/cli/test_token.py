"""`./pacs token` gives no more than was asked for, and the archive lets in who has what it printed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from joserfc import jwt

from cli import main
from cli.engine.workspace import Layout
from cli.exit_codes import ExitCode
from infra.pki.private_files import write_private
from infra.pki.tokens import ensure_token_key, public_jwks
from services.archive.access import Access, TokenVerifier
from services.common.clock import SystemClock

PASSPHRASE = b"sixteen characters and more"


@pytest.fixture(autouse=True)
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenVerifier:
    """A stack that was up, and the archive's judge of its tokens."""
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path / "cache"))
    layout = Layout("local")
    write_private(layout.passphrase, PASSPHRASE)
    jwks = tmp_path / "tokens.jwks"
    jwks.write_text(public_jwks(ensure_token_key(layout.secrets / "pki", PASSPHRASE)), encoding="utf-8")
    return TokenVerifier(jwks, {"region:local"}, SystemClock())


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["token", *words]) == ExitCode.DONE
    out: str = capsys.readouterr().out
    return out


def admitted(verifier: TokenVerifier, token: str) -> Access:
    return verifier.verify(f"Bearer {token}")


def test_a_token_without_options_opens_the_status_page_and_no_study(
    verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys)
    assert out.count("\n") == 1
    access = admitted(verifier, out.strip())
    assert access.scopes == {"ops"}
    assert access.institutions == frozenset()


def test_a_token_reads_the_institution_it_names_and_nothing_else(
    verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    access = admitted(verifier, printed(capsys, "--scope", "dicomweb:read", "--institution", "yanan").strip())
    assert access.scopes == {"dicomweb:read"}
    assert access.institutions == {"yanan"}
    assert access.subject.startswith("operator:")


def test_every_institution_is_given_only_when_it_is_asked_for(
    verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--scope", "dicomweb:read", "--scope", "dicomweb:store", "--institution", "*")
    access = admitted(verifier, printed(capsys, *words).strip())
    assert access.institutions is None
    assert access.scopes == {"dicomweb:read", "dicomweb:store"}


def test_the_document_says_until_when_and_what_for(
    verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(printed(capsys, "--hours", "2", "--json"))
    assert admitted(verifier, document["token"]).subject == document["subject"]
    assert document["scopes"] == ["ops"]
    assert document["institutions"] == []
    assert document["expires_at"].endswith("+00:00")


def test_the_token_is_on_stdout_alone_and_in_no_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["token", "--scope", "dicomweb:read", "--institution", "yanan"]) == ExitCode.DONE
    told = capsys.readouterr()
    signature = told.out.strip().rpartition(".")[2]
    assert signature
    assert signature not in told.err
    assert "search and read studies" in told.err
    assert "yanan, until " in told.err
    logs = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.log")]
    assert any("search and read studies" in text for text in logs)
    assert not any(signature in text for text in logs)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scope", "dicomweb:read"], "nobody's studies are named"),
        (["--institution", "yanan"], "nothing may be done with its studies"),
        (["--scope", "dicomweb:read", "--institution", "elsewhere"], "there are: yanan"),
        (["--scope", "everything"], "everything"),
        (["--hours", "13"], "--hours"),
        (["--hours", "0"], "--hours"),
    ],
)
def test_what_allows_nothing_or_too_much_is_wrong_usage(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["token", *words]) == ExitCode.USAGE
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_a_stack_that_was_never_up_makes_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "elsewhere"))
    assert main.main(["token"]) == ExitCode.FAILED
    assert "run ./pacs up" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_the_lifetime_is_what_was_asked_for(
    verifier: TokenVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = jwt.decode(
        printed(capsys, "--hours", "3").strip(), verifier.keys(), algorithms=["Ed25519"]
    ).claims
    assert claims["exp"] - claims["iat"] == timedelta(hours=3).total_seconds()
