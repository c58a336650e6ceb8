from __future__ import annotations

from pathlib import Path

import pytest

from infra.config.sections import SecondCopy
from infra.pki.private_files import write_private
from infra.pki.second_copy import read_second_copy
from infra.supplies import SuppliesError

COPY = SecondCopy(endpoint="https://s3.example", bucket="second", credentials="second.env")
LINES = b"access_key=AK\nsecret_key = SK=with=signs \n"


def test_the_credentials_are_read_and_the_secret_is_not_shown(tmp_path: Path) -> None:
    write_private(tmp_path / "second.env", LINES)
    access = read_second_copy(COPY, tmp_path)
    assert (access.access_key, access.secret_key, access.trust) == ("AK", "SK=with=signs", None)
    assert "SK" not in repr(access)


def test_missing_credentials_are_told_with_their_place_and_form(tmp_path: Path) -> None:
    with pytest.raises(SuppliesError, match=r"second\.env does not exist") as caught:
        read_second_copy(COPY, tmp_path)
    assert "access_key=" in caught.value.action


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    write_private(tmp_path / "second.env", LINES)
    (tmp_path / "second.env").chmod(0o644)
    with pytest.raises(SuppliesError, match="0644"):
        read_second_copy(COPY, tmp_path)


@pytest.mark.parametrize("lines", [b"", b"access_key=AK\n", b"access_key=\nsecret_key=SK\n", b"nonsense\n"])
def test_incomplete_credentials_are_refused(tmp_path: Path, lines: bytes) -> None:
    write_private(tmp_path / "second.env", lines)
    with pytest.raises(SuppliesError, match="incomplete"):
        read_second_copy(COPY, tmp_path)


def test_the_endpoints_own_authorities_are_read_or_missed(tmp_path: Path) -> None:
    write_private(tmp_path / "second.env", LINES)
    config = COPY.model_copy(update={"trust": "second.pem"})
    with pytest.raises(SuppliesError, match="no certificate"):
        read_second_copy(config, tmp_path)
    (tmp_path / "second.pem").write_text("-----BEGIN CERTIFICATE-----\n", encoding="utf-8")
    assert read_second_copy(config, tmp_path).trust == "-----BEGIN CERTIFICATE-----\n"
