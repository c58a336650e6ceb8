"""A tombstone is read back exactly as it was written, or not at all."""

import json
from dataclasses import replace

import pytest

from services.archive.tombstones.document import Target, Tombstone, TombstoneError
from tests.services.archive.tombstones.contract_tombstones import a_tombstone

ONE = a_tombstone(Target("1.2.3", "1.2.3.1", "1.2.3.1.1"), reason="左右弄反")


def test_a_tombstone_is_read_back_as_it_was_written() -> None:
    assert Tombstone.decode(ONE.encode()) == ONE
    ended = replace(ONE, until="2025-03-01T12:00:00.000000Z")
    assert Tombstone.decode(ended.encode()) == ended
    assert ended.document_id != ONE.document_id


def test_its_key_names_institution_and_digest() -> None:
    assert ONE.key == f"tombstones/yanan/{ONE.document_id[:2]}/{ONE.document_id}.json"


def altered(**changes: object) -> bytes:
    return json.dumps(json.loads(ONE.encode()) | changes, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"kind": "correction"},
        {"institution": "../yanan"},
        {"reason": ""},
        {"deleted_by": ""},
        {"deleted_at": "yesterday"},
        {"until": "2025-03-01T12:00:00"},
        {"until": 7},
        {"targets": []},
        {"targets": ["1.2.3"]},
        {"targets": [{"study_uid": "", "series_uid": "", "sop_instance_uid": "", "digest": ""}]},
        {"targets": [{"study_uid": "1.2", "series_uid": "../x", "sop_instance_uid": "", "digest": ""}]},
        {"targets": [{"study_uid": "1.2", "series_uid": "", "sop_instance_uid": "", "digest": "0" * 64}]},
        {"targets": [{"study_uid": "1.2"}]},
        {"more": "fields"},
    ],
    ids=str,
)
def test_what_is_not_exactly_a_tombstone_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TombstoneError):
        Tombstone.decode(altered(**changes))


@pytest.mark.parametrize("encoded", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, ONE.encode() + b" "])
def test_bytes_that_are_none_are_refused(encoded: bytes) -> None:
    with pytest.raises(TombstoneError):
        Tombstone.decode(encoded)
