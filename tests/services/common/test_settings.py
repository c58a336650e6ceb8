"""Rules of settings: names and AE titles have one form, secrets come from files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.common.settings import AETitle, DnsLabel, read_secret


@pytest.mark.parametrize("good", ["A", "PACS", "CT 1", "SIXTEEN-LETTERS!", "[]^~"])
def test_an_ae_title_is_1_to_16_characters_of_the_default_repertoire(good: str) -> None:
    assert TypeAdapter(AETitle).validate_python(good) == good


@pytest.mark.parametrize("bad", ["", " ", " A", "A ", "SEVENTEEN-LETTERS", "A\\B", "Ä", "A\n", "医院"])
def test_what_is_no_ae_title_is_refused(bad: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(AETitle).validate_python(bad)


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_can_stand_in_a_key_and_a_host_name(text: str) -> None:
    try:
        name = TypeAdapter(DnsLabel).validate_python(text)
    except ValidationError:
        return
    assert 1 <= len(name) <= 63
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name.strip("-") == name


def test_a_secret_file_loses_its_newline_and_must_hold_something(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    assert read_secret(tmp_path / "secret") == "s3cret"
    (tmp_path / "secret").write_text(" \n")
    with pytest.raises(ValueError, match="is empty"):
        read_secret(tmp_path / "secret")
    with pytest.raises(FileNotFoundError):
        read_secret(tmp_path / "nothing")
