"""What every index must do with tombstones; run on the memory index here and on PostgreSQL by the integration tests.

A subclass gives the fixture `index`.
"""

import json
from datetime import timedelta
from typing import Any

from services.archive.index.query import Level, Query
from services.archive.index.records import InstanceRecord
from services.archive.ports import Index
from services.archive.tombstones.document import Target, Tombstone
from services.common.clock import rfc3339
from tests.services.archive.content import NOON, a_pack, a_series, a_study, an_instance

YANAN = frozenset({"yanan"})
LATER = NOON + timedelta(hours=1)


def slice_of(uid: str, series_uid: str = "1.2.3.1", patient: str = "P1", **changes: Any) -> InstanceRecord:
    """A slice whose ready JSON names its patient and modality."""
    attributes = {
        "00100020": {"vr": "LO", "Value": [patient]}, "00080060": {"vr": "CS", "Value": ["CT"]},
        "0020000E": {"vr": "UI", "Value": [series_uid]},
    }  # fmt: skip
    return an_instance(uid, series_uid, dicom_json=json.dumps(attributes).encode(), **changes)


def a_tombstone(*targets: Target, until: str | None = None, **changes: Any) -> Tombstone:
    fields: dict[str, Any] = {
        "region": "local", "institution": "yanan", "site": "centre", "code": "113037", "reason": "wrong side",
        "deleted_by": "dr-li", "deleted_at": rfc3339(NOON), "origin": "dicomweb",
    } | changes  # fmt: skip
    return Tombstone(until=until, targets=targets, **fields)


def uids(index: Index, study: str = "1.2.3") -> list[str]:
    return [one.sop_instance_uid for one in index.instances(YANAN, study)]


class TombstoneContract:
    """Rules of `Index.bury`, `unknown_tombstones` and `newest_received`."""

    def test_a_hidden_instance_is_in_no_answer_and_the_counts_follow(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1"), slice_of("1.2"), slice_of("2.1", "1.2.3.2")), [])
        assert index.bury(a_tombstone(Target("1.2.3", "1.2.3.1", "1.1"))) == 1
        assert uids(index) == ["1.2", "2.1"]
        assert [one.sop_instance_uid for one in index.find(Query(Level.INSTANCE, YANAN))] == ["1.2", "2.1"]
        [study] = index.find(Query(Level.STUDY, YANAN))
        assert (study.study_series, study.study_instances) == (2, 2)

    def test_the_last_instance_takes_series_and_study_with_it(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1"), slice_of("2.1", "1.2.3.2")), [])
        index.bury(a_tombstone(Target("1.2.3", "1.2.3.1")))
        assert [one.series_uid for one in index.find(Query(Level.SERIES, YANAN))] == ["1.2.3.2"]
        index.bury(a_tombstone(Target("1.2.3")))
        assert index.find(Query(Level.STUDY, YANAN)) == []

    def test_a_tombstone_of_another_series_or_study_hides_nothing(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1")), [])
        assert index.bury(a_tombstone(Target("1.2.3", "1.2.3.9", "1.1"))) == 0
        assert index.bury(a_tombstone(Target("9.9.9", "", "1.1"))) == 0
        assert uids(index) == ["1.1"]

    def test_a_tombstone_of_one_institution_hides_nothing_of_another(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1")), [])
        assert index.bury(a_tombstone(Target("1.2.3"), institution="zhidan")) == 0
        assert index.commit(a_pack(slice_of("1.2"), name="two"), []).added == 1
        assert uids(index) == ["1.1", "1.2"]

    def test_what_comes_after_the_tombstone_is_hidden_too(self, index: Index) -> None:
        index.bury(a_tombstone(Target("1.2.3", "1.2.3.1", "1.1")))
        outcome = index.commit(a_pack(slice_of("1.1"), slice_of("1.2")), [])
        assert (outcome.added, outcome.tombstoned) == (1, 1)
        other = slice_of("1.1", content="another encoding")
        assert index.commit(a_pack(other, name="two"), []).tombstoned == 1
        assert uids(index) == ["1.2"]

    def test_a_resend_after_a_deletion_that_ends_is_shown(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1")), [])
        index.bury(a_tombstone(Target("1.2.3"), until=rfc3339(NOON)))
        assert index.commit(a_pack(slice_of("1.1"), name="forwarded late"), []).tombstoned == 1
        assert index.commit(a_pack(slice_of("1.1", received_at=LATER), name="sent again"), []).added == 1
        assert uids(index) == ["1.1"]

    def test_every_version_of_an_instance_goes_together(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1")), [])
        index.commit(a_pack(slice_of("1.1", content="other"), name="two"), [])
        assert index.bury(a_tombstone(Target("1.2.3", "", "1.1"))) == 2
        assert index.conflicts(YANAN, "1.2.3") == []

    def test_where_only_the_first_version_is_hidden_the_next_takes_its_place(self, index: Index) -> None:
        first, other = slice_of("1.1"), slice_of("1.1", content="other")
        index.commit(a_pack(first), [])
        index.commit(a_pack(other, name="two"), [])
        index.bury(a_tombstone(Target("1.2.3", "1.2.3.1", "1.1", first.digest)))
        assert [one.digest for one in index.instances(YANAN, "1.2.3")] == [other.digest]
        assert index.conflicts(YANAN, "1.2.3") == []
        assert index.find(Query(Level.STUDY, YANAN))[0].study_instances == 1

    def test_a_study_is_described_by_what_is_left_of_it(self, index: Index) -> None:
        wrong, right = slice_of("1.1", patient="WRONG"), slice_of("1.2", patient="P7")
        index.commit(a_pack(wrong, study=a_study(patient_id="WRONG")), [])
        index.commit(a_pack(right, name="two", study=a_study(patient_id="P7")), [])
        index.bury(a_tombstone(Target("1.2.3", "", "1.1")))
        [study] = index.find(Query(Level.STUDY, YANAN))
        assert json.loads(study.study)["00100020"]["Value"] == ["P7"]

    def test_the_order_of_tombstone_and_pack_makes_no_difference(self, index: Index) -> None:
        wrong, right = slice_of("1.1", patient="WRONG"), slice_of("1.2", patient="P7")
        content = a_pack(wrong, right, study=a_study(patient_id="WRONG"), series=(a_series(number=5),))
        index.bury(a_tombstone(Target("1.2.3", "", "1.1")))
        index.commit(content, [])
        before = index.find(Query(Level.SERIES, YANAN))
        index.bury(a_tombstone(Target("1.2.3", "", "9.9"), until=rfc3339(NOON)))
        assert index.find(Query(Level.SERIES, YANAN)) == before
        assert json.loads(before[0].study)["00100020"]["Value"] == ["P7"]

    def test_the_same_tombstone_again_changes_nothing_and_is_known(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1"), slice_of("1.2")), [])
        tombstone = a_tombstone(Target("1.2.3", "", "1.1"))
        assert index.unknown_tombstones([tombstone.document_id]) == {tombstone.document_id}
        assert (index.bury(tombstone), index.bury(tombstone)) == (1, 0)
        assert index.unknown_tombstones([tombstone.document_id, "0" * 64]) == {"0" * 64}

    def test_when_the_newest_of_a_target_was_received_is_told(self, index: Index) -> None:
        index.commit(a_pack(slice_of("1.1"), slice_of("2.1", "1.2.3.2", received_at=LATER)), [])
        assert index.newest_received("yanan", Target("1.2.3")) == LATER
        assert index.newest_received("yanan", Target("1.2.3", "1.2.3.1")) == NOON
        assert index.newest_received("yanan", Target("1.2.3", "1.2.3.1", "2.1")) is None
        assert index.newest_received("zhidan", Target("1.2.3")) is None
