"""The enrol command refuses what cannot work before it spends the one-time token."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.pki.enrolment import ensure_provisioner_key, issue_enrolment_token
from services.common.errors import PacsError
from services.edge.enrol import Token, main
from tests.services.edge.branch import NAMES, PASSPHRASE, ReceiptOffice


def arguments(tmp_path: Path, root: Path, token: str, site: str = "yanchang") -> list[str]:
    (tmp_path / "token").write_text(token)
    return [
        *("--ca-url", "https://127.0.0.1:1", "--domain", "pacs.local.test", "--institution", "yanan"),
        *("--site", site, "--identity", str(tmp_path / "identity")),
        *("--root", str(root), "--token-file", str(tmp_path / "token")),
    ]


@pytest.fixture
def token(office: ReceiptOffice, tmp_path: Path) -> str:
    key = ensure_provisioner_key(tmp_path / "keys", PASSPHRASE)
    fingerprint = office.authorities.root_fingerprint
    return issue_enrolment_token(
        key, NAMES, fingerprint, institution="yanan", site="yanchang", now=datetime.now(UTC)
    )


def test_a_token_for_another_site_is_refused_here(
    tmp_path: Path, office: ReceiptOffice, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, office.root_file, token, site="zhidan")) == 2
    assert "Issue a token for this site" in capsys.readouterr().err
    assert not (tmp_path / "identity" / "site.key").exists()


def test_an_unreachable_ca_can_be_tried_again_and_the_key_is_kept(
    tmp_path: Path, office: ReceiptOffice, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, office.root_file, token)) == 4
    key = (tmp_path / "identity" / "site.key").read_bytes()
    assert main(arguments(tmp_path, office.root_file, token)) == 4
    assert (tmp_path / "identity" / "site.key").read_bytes() == key
    assert token not in capsys.readouterr().err


def test_a_root_that_the_token_does_not_know_is_not_pinned(
    tmp_path: Path, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ReceiptOffice(tmp_path / "other")
    assert main(arguments(tmp_path, other.root_file, token)) == 2
    assert "fingerprint" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "nonsense", "a.b.c", "e30.e30.e30"])
def test_a_file_that_holds_no_token_is_refused(
    tmp_path: Path, office: ReceiptOffice, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, office.root_file, content)) == 2
    assert capsys.readouterr().err


@given(st.text(max_size=100))
def test_no_text_makes_the_parser_fall(text: str) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(text).encode()).decode()
    for candidate in (text, f"x.{text}.y", f"x.{payload}.y"):
        with pytest.raises(PacsError):
            Token.parse(candidate)
