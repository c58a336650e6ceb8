from __future__ import annotations

import io
from pathlib import Path

import pydicom

from bench.corpus import Batch, Corpus, uid
from services.packs.instance import is_uid

CORPUS = Corpus(seed=7, matrix=64)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_every_slice_has_identifiers_of_its_own_and_they_agree() -> None:
    batch = Batch("a", 20)
    slices = [read(data) for data in CORPUS.files(batch)]
    assert len({ds.SOPInstanceUID for ds in slices}) == 20
    assert {ds.StudyInstanceUID for ds in slices} == {batch.study(7)}
    assert {ds.SeriesInstanceUID for ds in slices} == {batch.series(7)}
    assert all(ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID for ds in slices)
    assert [ds.SOPInstanceUID for ds in slices] == [batch.instance(7, index) for index in range(20)]
    assert [ds.InstanceNumber for ds in slices] == list(range(10000, 10020))


def test_no_two_batches_share_an_identifier() -> None:
    first, second = (read(CORPUS.file(Batch(label, 1), 0)) for label in ("a", "b"))
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert first[name].value != second[name].value


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert Corpus(seed=7, matrix=64).file(Batch("a", 2), 1) == CORPUS.file(Batch("a", 2), 1)
    assert Corpus(seed=8, matrix=64).file(Batch("a", 2), 1) != CORPUS.file(Batch("a", 2), 1)


def test_pixels_are_whole_and_differ_between_neighbours() -> None:
    first, second = (read(CORPUS.file(Batch("a", 2), index)) for index in range(2))
    assert len(first.PixelData) == 64 * 64 * 2
    assert first.PixelData != second.PixelData


def test_uids_are_valid_and_all_of_one_even_length() -> None:
    found = [uid(seed, label) for seed in range(10) for label in range(200)]
    assert all(is_uid(text) and len(text) == 44 for text in found)
    assert len(set(found)) == len(found)


def test_files_are_written_one_a_slice(tmp_path: Path) -> None:
    size = CORPUS.write(Batch("a", 3), tmp_path / "files")
    files = sorted((tmp_path / "files").iterdir())
    assert [path.name for path in files] == ["000000.dcm", "000001.dcm", "000002.dcm"]
    assert size == sum(path.stat().st_size for path in files)
    assert files[1].read_bytes() == CORPUS.file(Batch("a", 3), 1)
