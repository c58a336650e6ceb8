"""RAD-66: a stored rejection note hides what it names, by its code, for its institution; nothing else does."""

import io
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.index.rebuild import enter_missing
from services.archive.ports import StoreUnavailable
from services.archive.tombstones.burial import Burial, stored_tombstone
from services.archive.tombstones.reasons import REASONS
from services.archive.tombstones.rejection import KEY_OBJECT_SELECTION
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]

ONE = "/studies/1.2.3/series/1.2.3.1/instances/1.1"
NOTE = "/studies/1.2.3/series/1.2.3.99/instances/99.1"


def item(**attributes: Any) -> Dataset:
    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def a_note(
    code: str = "113037",
    *named: str,
    uid: str = "99.1",
    scheme: str = "DCM",
    study: str = "1.2.3",
    series: str = "1.2.3.1",
) -> bytes:
    """A Key Object Selection Document with this title over these instances of one series."""
    note = dcmread(io.BytesIO(synthetic(uid, series="1.2.3.99", Modality="KO")))
    del note.PixelData
    note.SOPClassUID = note.file_meta.MediaStorageSOPClassUID = UID(KEY_OBJECT_SELECTION)
    note.ValueType = "CONTAINER"
    note.ConceptNameCodeSequence = [
        item(CodeValue=code, CodingSchemeDesignator=scheme, CodeMeaning="a title")
    ]
    references = [
        item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=one) for one in named
    ]
    note.CurrentRequestedProcedureEvidenceSequence = [
        item(
            StudyInstanceUID=study,
            ReferencedSeriesSequence=[item(SeriesInstanceUID=series, ReferencedSOPSequence=references)],
        )
    ]
    target = io.BytesIO()
    note.save_as(target, enforce_file_format=True)
    return target.getvalue()


@pytest.fixture
def filled(harness: Harness) -> Harness:
    harness.keep(synthetic("1.1"), synthetic("1.2", InstanceNumber=2))
    return harness


@pytest.mark.parametrize("code", REASONS)
def test_each_rejection_hides_what_it_names_and_nothing_else(filled: Harness, code: str) -> None:
    filled.keep(a_note(code, "1.1"))
    assert filled.get(ONE).status_code == 404
    assert filled.get("/instances?Modality=CT").json()[0]["00080018"]["Value"] == ["1.2"]
    assert filled.get(NOTE + "/metadata").status_code == 200, "the note itself says what happened"
    assert filled.counted("pacs_archive_buried_instances_total", code=code) == 1


@pytest.mark.parametrize(
    ("code", "shown"), [("113001", 404), ("113037", 404), ("113038", 404), ("113039", 200)]
)
def test_the_same_instance_sent_again_is_shown_only_where_it_had_expired(
    filled: Harness, code: str, shown: int
) -> None:
    filled.keep(a_note(code, "1.1"))
    filled.keep(synthetic("1.1"))
    assert filled.get(ONE).status_code == shown


def test_a_note_that_comes_before_its_images_hides_them_too(harness: Harness) -> None:
    harness.keep(a_note("113038", "1.1"))
    harness.keep(synthetic("1.1"), synthetic("1.2"))
    assert harness.get(ONE).status_code == 404
    assert harness.get("/studies/1.2.3/series/1.2.3.1/metadata").json()[0]["00080018"]["Value"] == ["1.2"]


@pytest.mark.parametrize(
    "note",
    [
        a_note("113000", "1.1"), a_note("113037", "1.1", scheme="99LOCAL"), a_note("113037"),
        a_note("113037", "1.1", study="9.9"), a_note("113037", "1.1", series="9.9"), a_note("113037", "../1.1"),
    ],
    ids=["of-interest", "another-scheme", "names-nothing", "another-study", "another-series", "no-uid"],
)  # fmt: skip
def test_what_is_no_rejection_of_it_hides_nothing(filled: Harness, note: bytes) -> None:
    filled.keep(note)
    assert filled.get(ONE).status_code == 200
    assert filled.get(NOTE + "/metadata").status_code == 200


def test_a_note_does_not_hide_itself(filled: Harness) -> None:
    filled.keep(a_note("113037", "1.1", "99.1", series="1.2.3.99"))
    assert filled.get(NOTE + "/metadata").status_code == 200


def test_a_note_of_one_institution_hides_nothing_of_another(filled: Harness) -> None:
    filled.keep(synthetic("1.1"), institutions=["zhidan"])
    filled.keep(a_note("113037", "1.1"), institutions=["zhidan"])
    assert filled.get(ONE, institutions=["yanan"]).status_code == 200
    assert filled.get(ONE, institutions=["zhidan"]).status_code == 404


def test_the_tombstone_names_the_note_and_a_rebuild_knows_it_either_way(filled: Harness) -> None:
    filled.keep(a_note("113001", "1.1"))
    [key] = filled.store.list("tombstones/")
    assert stored_tombstone(filled.store, key).origin == "kos:99.1"
    for lost in (False, True):
        if lost:
            filled.store.delete(key)
        (directory := filled.directory / f"anew{lost}").mkdir()
        anew = Harness(directory, store=filled.store, index=MemoryIndex())
        Burial(anew.store, anew.index, anew.metrics).enter_missing()
        assert enter_missing(anew.store, anew.index, anew.archive.sink).damaged == 0
        assert anew.get(ONE).status_code == 404
        assert list(filled.store.list("tombstones/")) == [key]
        anew.close()


def test_a_note_is_committed_only_with_its_tombstone(
    filled: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled.stow(a_note("113037", "1.1")).status_code == 200
    real = filled.store.put

    def no_tombstones(key: str, *rest: Any) -> None:
        if key.startswith("tombstones/"):
            raise StoreUnavailable("away")
        real(key, *rest)

    monkeypatch.setattr(filled.store, "put", no_tombstones)
    filled.archive.sealer.seal_due()
    while filled.archive.sealer.unsealed_bytes:
        filled.archive.sealer.seal_due()
    filled.archive.sealer.handover.store_next()
    filled.archive.sealer.handover.commit_next()
    assert filled.get(NOTE + "/metadata").status_code == 404
    monkeypatch.undo()
    for key in list(filled.store.list("packs/")):
        assert filled.store.exists(key)
    enter_missing(filled.store, filled.index, filled.archive.sink)
    assert filled.get(NOTE + "/metadata").status_code == 200
    assert filled.get(ONE).status_code == 404
