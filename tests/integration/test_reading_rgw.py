"""Retrieval through the gateway from a real radosgw: it takes our signatures, with the keys of SSE-C, for any range."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.ceph import running_ceph
from tests.integration.postgres import PostgresServer, postgres
from tests.integration.region_door import resolve_locally
from tests.integration.test_archive_end_to_end import available
from tests.integration.test_reading import SYNTAXES, Region, path_of, running_region, without_boundary
from tests.services.archive.samples import synthetic

__all__ = ["postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ACCEPTS = (None, "application/dicom; transfer-syntax=*", "application/octet-stream; transfer-syntax=*")


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Region]:
    with running_ceph() as endpoint, pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        endpoint.make_bucket("packs")
        yield from running_region(tmp_path_factory, postgres, endpoint)


def test_what_radosgw_holds_encrypted_is_answered_as_the_archive_answers_it(region: Region) -> None:
    files = [content for name in SYNTAXES if (content := available(name)) is not None]
    files.append(synthetic("1.2.3.8.1", study="1.2.3.8", series="1.2.3.8.2", frames=5, pixels=bytes(1 << 20)))
    region.keep(*files)
    for content in files:
        path = path_of(content)
        for what in (
            path,
            path.rpartition("/instances/")[0],
            f"{path}/frames/1",
            f"{path}/bulkdata/7FE00010",
        ):
            for accept in ACCEPTS:
                given, wanted = region.get(what, accept), region.from_archive(what, accept)
                assert without_boundary(given) == without_boundary(wanted), (what, accept)
    for kind in ("frame", "instance", "bulkdata", "series"):
        assert region.figure("pacs_gateway_reads_total", kind=kind, source="store") > 0, kind
