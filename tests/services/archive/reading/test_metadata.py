"""The metadata blob: the same JSON whoever asks and however, named by its content, and built when a series is quiet."""

import gzip
import json

import pytest

from services.archive.errors import IndexUnavailable
from services.archive.reading.metadata import MetadataKeeper, packed
from services.archive.reading.metadata_response import takes_gzip
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic
from tests.waiting import wait_for

__all__ = ["harness"]

SERIES = "/studies/1.2.3/series/1.2.3.1/metadata"


@pytest.mark.parametrize(
    "objects", [[], [b'{"a":1}'], [b'{"a":%d}' % n for n in range(1000)], [b'"%b"' % (b"x" * 3_000_000)]]
)
def test_a_blob_unpacks_to_the_array_of_its_objects(objects: list[bytes]) -> None:
    blob = packed(objects)
    expected = b"[" + b",".join(objects) + b"]"
    assert gzip.decompress(blob.content) == b"".join(blob.plain()) == expected
    assert packed(iter(objects)).etag == blob.etag
    assert packed([*objects, b"1"]).etag != blob.etag


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False), ("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip;q=0.0, *", False),
        ("*", True), ("identity", False), ("*;q=0", False), ("gzipped", False), (";;,", False),
    ],
)  # fmt: skip
def test_gzip_goes_to_who_takes_it(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


def test_a_series_comes_gzipped_or_plain_and_not_again_to_who_has_it(harness: Harness) -> None:
    harness.keep(*(synthetic(f"1.2.3.1.{n}", InstanceNumber=n) for n in (2, 1)))
    bearer = harness.issuer.bearer()
    answers = [
        harness.http.get("/dicom-web" + SERIES, headers={**bearer, "Accept-Encoding": coding})
        for coding in ("gzip", "identity")
    ]
    assert [answer.headers.get("content-encoding") for answer in answers] == ["gzip", None]
    assert answers[0].content == answers[1].content
    assert [one["00080018"]["Value"][0] for one in answers[0].json()] == ["1.2.3.1.1", "1.2.3.1.2"]
    strong, weak = (answer.headers["etag"] for answer in answers)
    assert weak == f"W/{strong}"
    for tag in (strong, weak):
        known = harness.http.get("/dicom-web" + SERIES, headers={**bearer, "If-None-Match": tag})
        assert (known.status_code, known.content) == (304, b"")
    harness.keep(synthetic("1.2.3.1.3", InstanceNumber=3))
    changed = harness.http.get("/dicom-web" + SERIES, headers={**bearer, "If-None-Match": strong})
    assert len(changed.json()) == 3


def test_a_series_that_two_institutions_hold_is_read_row_by_row(harness: Harness) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    harness.keep(synthetic("1.2.3.1.2"), institutions=["zhidan"])
    assert len(harness.get(SERIES).json()) == 2
    assert [
        len(json.loads(harness.get(SERIES, institutions=[one]).content)) for one in ("yanan", "zhidan")
    ] == [1, 1]
    assert harness.get(SERIES, institutions=["luochuan"]).status_code == 404


class Due:
    """An index with these series to build; it is away at first."""

    def __init__(self, *series: int) -> None:
        self.series, self.built, self.away = list(series), list[int](), 1

    def series_without_metadata(self, quiet_seconds: float, limit: int) -> list[int]:
        if self.away:
            self.away -= 1
            raise IndexUnavailable("away")
        return [one for one in self.series if one not in self.built][:limit]

    def build_metadata(self, series: int) -> bool:
        self.built.append(series)
        return series != 2


def test_the_keeper_builds_all_that_is_due_once_the_index_is_there(harness: Harness) -> None:
    index = Due(*range(50))
    keeper = MetadataKeeper(index, harness.metrics, quiet_seconds=0.01)  # type: ignore[arg-type]
    keeper.start()
    wait_for(lambda: len(index.built) == 50, 20, "everything is built")
    keeper.stop()
    assert not any(thread.is_alive() for thread in keeper.threads)
    assert harness.counted("pacs_archive_built_metadata_total") == 49
