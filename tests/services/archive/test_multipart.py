"""Rules of multipart/related: what was written is read, however the bytes are cut; malformed bodies are errors."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.archive.dicomweb.multipart import MultipartReader, boundary_of
from services.common.errors import BadRequest


class Collected:
    """A receiver that keeps everything."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytes]] = []
        self.open = False

    def begin(self, headers: dict[str, str]) -> None:
        assert not self.open
        self.open = True
        self.parts.append((headers, b""))

    def data(self, piece: bytes) -> None:
        assert self.open
        headers, content = self.parts[-1]
        self.parts[-1] = (headers, content + piece)

    def end(self) -> None:
        assert self.open
        self.open = False


def read(body: bytes, cuts: list[int]) -> Collected:
    collected = Collected()
    reader = MultipartReader("bound", collected)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        reader.feed(body[start:end])
    reader.finish()
    return collected


@given(
    contents=st.lists(
        st.binary(max_size=300).filter(lambda content: b"--bound" not in content)
        | st.sampled_from([b"\r\n", b"--boun", b"\r\n--boun", b"\r\n\r\n", b"-", b"\r", b"\r\n--bounX"]),
        max_size=5,
    ),
    cuts=st.lists(st.integers(0, 5000), max_size=20),
    preamble=st.sampled_from([b"", b"\r\n", b"preamble\r\n"]),
    headers=st.sampled_from([b"", b"Content-Type: application/dicom\r\n", b"A: b\r\nContent-Length: 9\r\n"]),
)
def test_parts_come_out_as_they_went_in_wherever_the_body_is_cut(
    contents: list[bytes], cuts: list[int], preamble: bytes, headers: bytes
) -> None:
    body = (
        preamble
        + b"".join(b"--bound\r\n" + headers + b"\r\n" + one + b"\r\n" for one in contents)
        + b"--bound--"
    )
    collected = read(body, cuts)
    assert [content for _, content in collected.parts] == contents
    assert not collected.open


@given(
    body=st.binary(max_size=400) | st.text("\r\n-bound: x").map(str.encode),
    cuts=st.lists(st.integers(0, 500)),
)
def test_any_bytes_are_read_or_refused(body: bytes, cuts: list[int]) -> None:
    try:
        read(body, cuts)
    except BadRequest:
        return


def test_headers_without_an_end_are_not_gathered_for_ever() -> None:
    reader = MultipartReader("bound", Collected())
    reader.feed(b"--bound\r\n")
    with pytest.raises(BadRequest):
        for _ in range(100):
            reader.feed(b"X-A: b\r\n" * 100)


def test_the_reader_holds_no_more_than_a_delimiter_of_a_large_part() -> None:
    collected = Collected()
    reader = MultipartReader("bound", collected)
    reader.feed(b"--bound\r\n\r\n")
    for _ in range(50):
        reader.feed(bytes(1 << 16))
        assert len(reader._buffer) < 100


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ('Multipart/Related; boundary="a b\'c"; type=application/dicom', "a b'c"),
        ("multipart/related; boundary=abc", "abc"),
        (
            f"multipart/related; boundary={'-'.join(['0ba52991-7dce-4a6a-8942-5cdd6494ce15'] * 2)}",
            "-".join(["0ba52991-7dce-4a6a-8942-5cdd6494ce15"] * 2),
        ),
    ],
)
def test_a_boundary_is_read_quoted_or_plain(kind: str, boundary: str) -> None:
    assert boundary_of(kind, "application/dicom") == boundary
