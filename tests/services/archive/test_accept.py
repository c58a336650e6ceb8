"""Rules of reading what a client accepts (RFC 9110 12.5.1, PS3.18 8.7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.archive.dicomweb.accept import parse
from services.common.errors import BadRequest


def test_parameters_are_read_quoted_or_plain_and_commas_in_quotes_do_not_split() -> None:
    first, second = parse(
        'multipart/related; type="image/*"; transfer-syntax=*;q=0.5, APPLICATION/DICOM ; x="a,b"'
    )
    assert (first.is_multipart, first.content, first.transfer_syntax, first.quality) == (
        True,
        "image/*",
        "*",
        0.5,
    )
    assert (second.kind, second.parameters["x"], second.quality) == ("application/dicom", "a,b", 1.0)


@pytest.mark.parametrize(
    ("accept", "media_type", "taken"),
    [
        ("*/*", "image/jp2", True), ("image/*", "image/jp2", True), ("image/jp2", "image/jp2", True),
        ("image/jpeg", "image/jp2", False), ("multipart/related", "image/jp2", True),
        ('multipart/related; type="image/jls"', "image/jp2", False), ("application/*", "image/jp2", False),
    ],
)  # fmt: skip
def test_a_range_takes_what_it_covers(accept: str, media_type: str, taken: bool) -> None:
    [one] = parse(accept)
    assert one.takes(media_type) is taken


@given(st.text(alphabet='abc/*;,="\\ q.', max_size=80) | st.text(max_size=60))
def test_any_header_is_read_or_refused(text: str) -> None:
    try:
        for one in parse(text):
            assert one.quality == one.quality
    except BadRequest:
        return


def test_a_header_that_is_too_long_is_refused_at_once() -> None:
    with pytest.raises(BadRequest):
        list(parse("a/b," * 5000))
