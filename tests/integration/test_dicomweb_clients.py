"""DICOMweb clients that none of us wrote against the running archive: dicomweb-client, and Orthanc's plugin both ways."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from bench.network import free_port
from services.packs.instance import scan
from tests.integration.archive_process import ArchiveProcess
from tests.integration.orthanc import Orthanc
from tests.integration.postgres import database, postgres
from tests.integration.test_archive_end_to_end import available, digest_at, eventually, send, stored
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(tmp_path, database, Issuer())
    process.start()
    yield process
    process.close()


@contextmanager
def orthanc(directory: Path, **servers: Any) -> Iterator[Orthanc]:
    """An Orthanc with its DICOMweb plugin, which knows these servers."""
    directory.mkdir()
    started = Orthanc(directory, free_port(), dicom_port=free_port(), servers=servers)
    try:
        yield started
    finally:
        started.close()


def peer_entry(archive: ArchiveProcess) -> dict[str, object]:
    """The archive as Orthanc's configuration names a DICOMweb server."""
    return {"Url": archive.url() + "/", "HttpHeaders": archive.issuer.bearer(), "ChunkedTransfers": True}


def test_dicomweb_client_searches_fuzzily_and_gets_pictures_and_other_transfer_syntaxes(
    archive: ArchiveProcess,
) -> None:
    content = available("MR_small_jp2klossless.dcm")
    assert content is not None
    instance = scan(content)
    named = (instance.study_uid, instance.series_uid, instance.sop_instance_uid)
    send(archive, content, *(synthetic(f"1.2.3.1.{n}", InstanceNumber=n, frames=2) for n in (1, 2)))
    eventually(lambda: stored(archive, "1.2.3") == 2, archive, "two slices")
    eventually(lambda: stored(archive, instance.study_uid) == 1, archive, "the compressed slice")
    client = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())

    found = client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "xiaodong wang"})
    assert [study["0020000D"]["Value"] for study in found] == [["1.2.3"]]
    assert client.search_for_studies(search_filters={"PatientName": "xiaodong wang"}) == []
    page = client.search_for_instances("1.2.3", limit=1, offset=1, fields=["Rows"])
    assert [one["00080018"]["Value"] for one in page] == [["1.2.3.1.2"]]

    image = Image.open(
        io.BytesIO(
            client.retrieve_instance_rendered(
                *named, media_types=("image/png",), params={"viewport": "32,32"}
            )
        )
    )
    assert image.size == (32, 32)
    jpeg = client.retrieve_instance_frames_rendered(
        "1.2.3", "1.2.3.1", "1.2.3.1.1", [2], media_types=("image/jpeg",)
    )
    assert Image.open(io.BytesIO(jpeg)).format == "JPEG"

    pixels = dcmread(io.BytesIO(content)).pixel_array
    [frame] = client.retrieve_instance_frames(
        *named, [1], media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)
    )
    assert np.array_equal(np.frombuffer(frame, pixels.dtype).reshape(pixels.shape), pixels)
    for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless):
        data_set = client.retrieve_instance(*named, media_types=(("application/dicom", str(syntax)),))
        assert data_set.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(data_set.pixel_array, pixels)
    metadata = client.retrieve_instance_metadata("1.2.3", "1.2.3.1", "1.2.3.1.1")
    [value] = client.retrieve_bulkdata(archive.url("") + metadata["7FE00010"]["BulkDataURI"])
    assert value == bytes(range(16)) * 4


def test_dicomweb_client_is_told_which_instance_was_not_stored(archive: ArchiveProcess) -> None:
    client = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())
    good, other = (
        dcmread(io.BytesIO(synthetic(uid, study=study)))
        for uid, study in (("1.1", "1.2.3"), ("1.2", "1.2.4"))
    )
    answer = client.store_instances([good, other], study_instance_uid="1.2.3")
    assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == ["1.1"]
    [failed] = answer.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2", 0xC001)


def test_orthanc_stores_queries_and_retrieves_as_a_client(archive: ArchiveProcess, tmp_path: Path) -> None:
    slices = [synthetic(f"1.2.3.1.{n}", InstanceNumber=n, pixels=bytes([n] * 32)) for n in range(1, 6)]
    with orthanc(tmp_path / "orthanc", pacs=peer_entry(archive)) as peer:
        ids = [peer.post("/instances", one)["ID"] for one in slices]
        peer.post("/dicom-web/servers/pacs/stow", {"Resources": ids, "Synchronous": True})
        eventually(lambda: stored(archive, "1.2.3") == 5, archive, "what Orthanc stored")
        # Orthanc writes file heads of its own; the data sets are the ones that it was given.
        assert [digest_at(archive, one) for one in slices] == [scan(one).digest for one in slices]

        query = {"Uri": "/studies", "Arguments": {"PatientID": "P1", "00100010": "Wang*"}}
        [study] = peer.post("/dicom-web/servers/pacs/qido", query)
        assert study["0020000D"]["Value"] == "1.2.3"

    with orthanc(tmp_path / "empty", pacs=peer_entry(archive)) as peer:
        retrieve = {"Resources": [{"Study": "1.2.3"}], "Synchronous": True}
        peer.post("/dicom-web/servers/pacs/retrieve", retrieve)
        got = {scan(peer.file(one)).digest for one in peer.get("/instances")}
        assert got == {scan(one).digest for one in slices}


def test_what_lies_in_orthanc_is_found_fetched_and_stored_over_dicomweb(
    archive: ArchiveProcess, tmp_path: Path
) -> None:
    slices = [synthetic(f"1.2.3.1.{n}", InstanceNumber=n, pixels=bytes([n] * 32)) for n in range(1, 4)]
    ours = DICOMwebClient(archive.url(), headers=archive.issuer.bearer())
    with orthanc(tmp_path / "orthanc") as peer:
        for one in slices:
            peer.post("/instances", one)
        theirs = DICOMwebClient(peer.url + "/dicom-web")
        [study] = theirs.search_for_studies(search_filters={"PatientID": "P1"})
        instances = theirs.retrieve_study(study["0020000D"]["Value"][0])
        assert len(ours.store_instances(instances).ReferencedSOPSequence) == 3
    eventually(lambda: stored(archive, "1.2.3") == 3, archive, "what came from Orthanc")
    assert len(ours.retrieve_series_metadata("1.2.3", "1.2.3.1")) == 3
