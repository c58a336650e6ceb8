"""What a put that was cut off left behind is ended when it is old, and only then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.adapters.rgw_store import RgwStore
from tests.services.archive.s3_double import S3Double

LATER = datetime.now(UTC) + timedelta(hours=1)
LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


def test_an_upload_that_never_came_to_an_end_is_ended_when_it_is_old() -> None:
    double = S3Double()
    store = RgwStore(cast("Any", double), "bucket")
    double.create_multipart_upload(Metadata={})
    double.create_multipart_upload(Metadata={})
    assert store.end_unfinished(LONG_AGO) == 0
    assert store.end_unfinished(LATER) == 2
    assert store.end_unfinished(LATER) == 0


def test_a_part_file_is_removed_when_it_is_old_and_objects_stay(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    folder = tmp_path / "packs" / "yanan" / "ab"
    folder.mkdir(parents=True)
    (folder / "x.pack.1.part").write_bytes(b"half")
    (folder / "y.pack").write_bytes(b"whole")
    assert store.end_unfinished(LONG_AGO) == 0
    assert store.end_unfinished(LATER) == 1
    assert [path.name for path in folder.iterdir()] == ["y.pack"]
