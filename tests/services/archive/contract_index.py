"""What every index must do; run on the memory index here and on PostgreSQL by the integration tests.

A subclass gives the fixture `index`.
"""

import json
from threading import Thread

import pytest

from services.archive.adapters import postgres_index
from services.archive.index.query import Condition, Level, Query, condition, key_named
from services.archive.index.records import Outcome
from services.archive.ports import Index
from tests.services.archive.content import a_pack, a_series, a_study, an_instance, receipts_for

EVERYONE = None
YANAN = frozenset({"yanan"})
ZHIDAN = frozenset({"zhidan"})


def where(*, with_fuzzy: bool = False, **asked: str) -> tuple[Condition, ...]:
    """Conditions by keyword; `__` stands for the dot of a sequence path."""
    conditions = []
    for name, value in asked.items():
        key = key_named(name.replace("__", "."))
        assert key is not None, name
        made = condition(key, value, fuzzy=with_fuzzy)
        if made is not None:
            conditions.append(made)
    return tuple(conditions)


def studies(index: Index, **asked: str) -> list[str]:
    """UIDs of the studies that a query finds."""
    return [match.study_uid for match in index.find(Query(Level.STUDY, EVERYONE, where(**asked)))]


def fuzzy(index: Index, **asked: str) -> list[str]:
    """The same with fuzzy matching of names."""
    conditions = where(with_fuzzy=True, **asked)
    return [match.study_uid for match in index.find(Query(Level.STUDY, EVERYONE, conditions))]


class IndexContract:
    """Rules of `services.archive.ports.Index`."""

    def test_a_committed_instance_is_found_at_every_level(self, index: Index) -> None:
        outcome = index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert outcome == Outcome(added=1, duplicates=0, conflicts=0, tombstoned=0)
        study = index.find(Query(Level.STUDY, YANAN))[0]
        assert (study.study_uid, study.modalities, study.study_series, study.study_instances) == (
            "1.2.3",
            ("CT",),
            1,
            1,
        )
        series = index.find(Query(Level.SERIES, YANAN))[0]
        assert (series.series_uid, series.series_instances) == ("1.2.3.1", 1)
        assert series.series == b'{"series":"1.2.3.1"}'
        instance = index.find(Query(Level.INSTANCE, YANAN))[0]
        assert (instance.sop_instance_uid, instance.instance) == ("1.2.3.1.1", b'{"instance":"1.2.3.1.1"}')

    def test_the_holders_of_a_study_are_told_among_those_who_are_asked_for(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert index.holders(EVERYONE, "1.2.3") == index.holders(YANAN, "1.2.3") == YANAN
        assert index.holders(ZHIDAN, "1.2.3") == index.holders(EVERYONE, "1.2.4") == frozenset()

    def test_the_metadata_of_a_series_is_what_its_instances_are_now(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.2", number=2), an_instance("1.2.3.1.1", number=1)), [])
        first = self.metadata_of(index)
        assert json.loads(first[1]) == [{"instance": "1.2.3.1.1"}, {"instance": "1.2.3.1.2"}]
        assert self.metadata_of(index) == first
        index.commit(a_pack(an_instance("1.2.3.1.3", number=3), name="two"), [])
        second = self.metadata_of(index)
        assert [one["instance"] for one in json.loads(second[1])] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
        assert second[0] != first[0]

    def test_metadata_of_others_and_of_nothing_is_none(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert index.series_metadata(ZHIDAN, "1.2.3", "1.2.3.1") is None
        assert index.series_metadata(YANAN, "1.2.3", "1.2.3.9") is None
        assert index.series_metadata(YANAN, "1.2.4", "1.2.3.1") is None

    @staticmethod
    def metadata_of(index: Index) -> tuple[str, bytes]:
        blob = index.series_metadata(YANAN, "1.2.3", "1.2.3.1")
        assert blob is not None
        return blob.etag, b"".join(blob.plain())

    def test_where_an_instance_lies_is_what_its_pack_said(self, index: Index) -> None:
        content = a_pack(an_instance("1.2.3.1.1"))
        index.commit(content, [])
        [stored] = index.instances(YANAN, "1.2.3")
        given = content.instances[0]
        assert stored.object_key == content.pack.object_key
        assert (stored.offset, stored.length, stored.data_offset) == (
            given.offset,
            given.length,
            given.data_offset,
        )
        assert (stored.pixel_offset, stored.pixel_length, stored.frames) == (
            488,
            512,
            ((488, 256), (744, 256)),
        )
        assert (stored.digest, stored.institution, stored.site) == (given.digest, "yanan", "yanchang")

    def test_the_same_pack_again_changes_nothing(self, index: Index) -> None:
        content = a_pack(an_instance("1.2.3.1.1"))
        index.commit(content, receipts_for(content))
        again = index.commit(content, receipts_for(content))
        assert (again.added, again.duplicates, again.conflicts) == (0, 1, 0)
        assert len(index.receipts("yanan", content.pack.pack_id, 1)) == 1
        assert index.find(Query(Level.STUDY, YANAN))[0].study_instances == 1

    def test_the_same_instance_in_another_pack_is_one_copy(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1"), name="one"), [])
        outcome = index.commit(a_pack(an_instance("1.2.3.1.1"), an_instance("1.2.3.1.2"), name="two"), [])
        assert outcome == Outcome(added=1, duplicates=1, conflicts=0, tombstoned=0)
        assert len(index.instances(YANAN, "1.2.3")) == 2
        assert index.find(Query(Level.SERIES, YANAN))[0].series_instances == 2

    def test_another_digest_under_one_identity_keeps_both_and_the_first_stays_addressable(
        self, index: Index
    ) -> None:
        first, other = an_instance("1.2.3.1.1"), an_instance("1.2.3.1.1", content="other pixels")
        index.commit(a_pack(first, name="one"), [])
        assert index.commit(a_pack(other, name="two"), []).conflicts == 1
        assert [one.digest for one in index.instances(YANAN, "1.2.3")] == [first.digest]
        [conflict] = index.conflicts(YANAN, "1.2.3")
        assert (conflict.instance.digest, conflict.first_digest) == (other.digest, first.digest)
        assert conflict.instance.object_key != index.instances(YANAN, "1.2.3")[0].object_key
        assert index.commit(a_pack(other, name="three"), []).duplicates == 1
        assert len(index.conflicts(YANAN, "1.2.3")) == 1

    def test_two_versions_within_one_pack_are_both_kept(self, index: Index) -> None:
        first, other = an_instance("1.2.3.1.1"), an_instance("1.2.3.1.1", content="other")
        assert index.commit(a_pack(first, other), []) == Outcome(1, 0, 1, 0)
        assert index.instances(YANAN, "1.2.3")[0].digest == first.digest

    def test_one_identity_in_two_institutions_is_two_instances(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        outcome = index.commit(a_pack(an_instance("1.2.3.1.1", content="x"), institution="zhidan"), [])
        assert outcome.added == 1
        assert index.conflicts(EVERYONE, "1.2.3") == []
        assert len(index.find(Query(Level.STUDY, EVERYONE))) == 2
        assert len(index.instances(EVERYONE, "1.2.3")) == 1, "a reader of both gets one copy of a UID"

    def test_nothing_of_another_institution_is_seen(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1"), name="one"), [])
        index.commit(a_pack(an_instance("1.2.3.1.1", content="other"), name="two"), [])
        for level in Level:
            assert index.find(Query(level, ZHIDAN)) == []
            assert index.find(Query(level, frozenset())) == []
        assert index.instances(ZHIDAN, "1.2.3") == []
        assert index.conflicts(ZHIDAN, "1.2.3") == []

    def test_receipts_are_kept_by_epoch_in_pack_order(self, index: Index) -> None:
        content = a_pack(an_instance("1.2.3.1.9"), an_instance("1.2.3.1.1"))
        index.commit(content, receipts_for(content, epoch=1))
        assert index.receipts("yanan", content.pack.pack_id, 1) == ["jws.1.2.3.1.9.1", "jws.1.2.3.1.1.1"]
        assert index.receipts("yanan", content.pack.pack_id, 2) == []
        assert index.receipts("zhidan", content.pack.pack_id, 1) == []
        index.commit(content, receipts_for(content, epoch=2))
        assert index.receipts("yanan", content.pack.pack_id, 2) == ["jws.1.2.3.1.9.2", "jws.1.2.3.1.1.2"]
        assert index.receipts("yanan", content.pack.pack_id, 1) == ["jws.1.2.3.1.9.1", "jws.1.2.3.1.1.1"]

    def test_packs_that_were_never_committed_are_told(self, index: Index) -> None:
        content = a_pack(an_instance("1.2.3.1.1"))
        index.commit(content, [])
        assert index.unknown_packs([content.pack.pack_id, "0" * 64]) == {"0" * 64}

    def test_a_pack_that_was_encrypted_anew_names_its_new_key_in_every_row(self, index: Index) -> None:
        first = a_pack(an_instance("1.1"), name="first")
        other = a_pack(an_instance("1.1", content="other"), name="second")
        index.commit(first, [])
        index.commit(other, [])
        for content in (first, other):
            index.rekeyed(content.pack.pack_id, "key-2")
        index.rekeyed("0" * 64, "key-2")
        assert [one.key_id for one in index.instances(YANAN, "1.2.3")] == ["key-2"]
        assert [one.instance.key_id for one in index.conflicts(YANAN, "1.2.3")] == ["key-2"]
        index.rekeyed(first.pack.pack_id, None)
        assert [one.key_id for one in index.instances(YANAN, "1.2.3")] == [None]

    def test_headers_come_in_the_order_asked_for(self, index: Index) -> None:
        index.commit(a_pack(*(an_instance(f"1.2.3.1.{n}", number=n) for n in range(1, 6))), [])
        found = index.instances(YANAN, "1.2.3")
        assert [one.sop_instance_uid[-1] for one in found] == ["1", "2", "3", "4", "5"]
        assert index.headers(found[::-1]) == [b'{"instance":"1.2.3.1.%d"}' % n for n in range(5, 0, -1)]

    def test_reading_order_is_series_number_then_instance_number(self, index: Index) -> None:
        series = (
            a_series("1.2.3.1", number=10),
            a_series("1.2.3.2", number=2),
            a_series("1.2.3.3", number=None),
        )
        instances = [
            an_instance("1.9.1", "1.2.3.1", number=1), an_instance("1.9.2", "1.2.3.3", number=1),
            an_instance("1.9.3", "1.2.3.2", number=10), an_instance("1.9.4", "1.2.3.2", number=9),
            an_instance("1.9.5", "1.2.3.2", number=None),
        ]  # fmt: skip
        index.commit(a_pack(*instances, series=series), [])
        expected = ["1.9.4", "1.9.3", "1.9.5", "1.9.1", "1.9.2"]
        assert [one.sop_instance_uid for one in index.instances(YANAN, "1.2.3")] == expected
        assert [m.sop_instance_uid for m in index.find(Query(Level.INSTANCE, YANAN))] == expected

    def test_instances_narrow_by_series_and_instance(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.9.1", "1.2.3.1"), an_instance("1.9.2", "1.2.3.2")), [])
        assert [one.sop_instance_uid for one in index.instances(YANAN, "1.2.3", "1.2.3.2")] == ["1.9.2"]
        assert [one.sop_instance_uid for one in index.instances(YANAN, "1.2.3", "1.2.3.1", "1.9.1")] == [
            "1.9.1"
        ]
        assert index.instances(YANAN, "1.2.3", "1.2.3.1", "1.9.2") == []
        assert index.instances(YANAN, "1.2.4") == []

    @pytest.mark.parametrize(
        "asked",
        [
            "王^小東", "王*", "*小東", "?^小東", "wang^xiaodong", "WANG*", "Wang^XiaoDong=王^小東", "=王*", "Wang*=*小*",
            "wang^xiaodong^^^", "Ｗａｎｇ^XiaoDong", "",  "*", "^",
        ],
    )  # fmt: skip
    def test_a_chinese_name_is_found_by(self, index: Index, asked: str) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert studies(index, PatientName=asked) == ["1.2.3"]

    @pytest.mark.parametrize(
        "asked", ["王", "小東", "Wang", "Li*", "=Wang*", "王*=", "%", "_ang*", "wang^xiaodong=李*"]
    )
    def test_a_chinese_name_is_not_found_by(self, index: Index, asked: str) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert studies(index, PatientName=asked) == []

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("xiaodong wang", True), ("Wang, XiaoDong", True), ("xiao", True), ("wangxiaodong", True), ("小東 王", True),
            ("王小東", True), ("小", True), ("wang*", True), ("ＷＡＮＧ", True), ("Wäng", True), ("*", True), ("", True),
            ("dong", False), ("東", False), ("wang li", False), ("wang xiaodongs", False), ("%", False), ("\\", False),
            ("' | 'a", False), ("wang & !xiaodong", False),
        ],
    )  # fmt: skip
    def test_fuzzy_matching_finds_the_beginnings_of_words_in_any_order(
        self, index: Index, asked: str, found: bool
    ) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert fuzzy(index, PatientName=asked) == (["1.2.3"] if found else [])

    def test_fuzzy_matching_knows_no_accents_but_the_sounds_of_kana(self, index: Index) -> None:
        names = {
            "1.1": {"Alphabetic": "Müller-Łukasz^José"}, "1.2": {"Phonetic": "がとう^たろう"}, "1.3": {"Phonetic": "홍^길동"},
            "1.4": {"Alphabetic": "O'Brien^Seán"}, "1.5": {},
        }  # fmt: skip
        for uid, name in names.items():
            content = a_pack(an_instance(f"{uid}.1"), name=uid, study=a_study(uid, patient_name=name))
            index.commit(content, [])
        for asked, uids in (
            ("jose muller", ["1.1"]), ("lukasz", ["1.1"]), ("JOSÉ", ["1.1"]), ("がとう", ["1.2"]), ("かとう", []),
            ("ガトウ", []), ("홍길", ["1.3"]), ("brien", ["1.4"]), ("obrien", ["1.4"]), ("sean o'brien", ["1.4"]),
        ):  # fmt: skip
            assert fuzzy(index, PatientName=asked) == uids, asked

    def test_fuzzy_matching_is_of_names_alone_and_joins_other_keys(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert fuzzy(index, PatientName="xiaodong", ReferringPhysicianName="na li", PatientID="P1") == [
            "1.2.3"
        ]
        assert fuzzy(index, PatientName="xiaodong", PatientID="p1") == []
        assert fuzzy(index, ReferringPhysicianName="wang") == []

    def test_japanese_and_korean_names_are_found_in_every_group(self, index: Index) -> None:
        yamada = {"Alphabetic": "ﾔﾏﾀﾞ^ﾀﾛｳ", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
        hong = {"Alphabetic": "Hong^Gildong", "Ideographic": "洪^吉洞", "Phonetic": "홍^길동"}
        index.commit(a_pack(an_instance("1.1.1"), name="y", study=a_study("1.1", patient_name=yamada)), [])
        index.commit(a_pack(an_instance("1.2.1"), name="h", study=a_study("1.2", patient_name=hong)), [])
        for asked in ("山田*", "やまだ^たろう", "ﾔﾏﾀﾞ*", "ヤマダ*", "==やまだ*"):
            assert studies(index, PatientName=asked) == ["1.1"], asked
        for asked in ("洪^吉洞", "홍*", "hong^gildong=洪*=홍*"):
            assert studies(index, PatientName=asked) == ["1.2"], asked

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"PatientID": "P1"}, True), ({"PatientID": "p1"}, False), ({"PatientID": "P*"}, True),
            ({"PatientID": "P?"}, True), ({"PatientID": "P_"}, False), ({"PatientID": "P%"}, False),
            ({"StudyDate": "20250301"}, True), ({"StudyDate": "20250101-20251231"}, True),
            ({"StudyDate": "20250302-"}, False), ({"StudyDate": "-20250301"}, True), ({"StudyDate": "-20250228"}, False),
            ({"StudyTime": "1000-1030"}, True), ({"StudyTime": "11-"}, False),
            ({"ModalitiesInStudy": "CT"}, True), ({"ModalitiesInStudy": "MR"}, False),
            ({"ModalitiesInStudy": "MR,CT"}, True), ({"ModalitiesInStudy": "C*"}, True),
            ({"AccessionNumber": "A1"}, True), ({"AccessionNumber": "B1"}, False),
            ({"StudyInstanceUID": "1.2.3"}, True), ({"StudyInstanceUID": "9.9,1.2.3"}, True),
            ({"StudyInstanceUID": "9.9\\1.2.3"}, True), ({"StudyInstanceUID": "1.2"}, False),
            ({"StudyDescription": "*CHEST"}, True), ({"ReferringPhysicianName": "li*"}, True),
            ({"PatientBirthDate": "19700101"}, True), ({"StudyID": "S2"}, False),
            ({"PatientID": "P1", "AccessionNumber": "B1"}, False),
        ],
    )  # fmt: skip
    def test_a_study_key_matches_as_the_standard_says(
        self, index: Index, asked: dict[str, str], found: bool
    ) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert (studies(index, **asked) == ["1.2.3"]) is found

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"Modality": "CT"}, True), ({"Modality": "MR"}, False), ({"SeriesNumber": "1"}, True),
            ({"SeriesNumber": "2"}, False), ({"SeriesInstanceUID": "1.2.3.1"}, True),
            ({"PerformedProcedureStepStartDate": "20250301"}, True),
            ({"RequestAttributesSequence__ScheduledProcedureStepID": "SPS2"}, True),
            ({"RequestAttributesSequence__RequestedProcedureID": "RP2"}, False),
            ({"RequestAttributesSequence__RequestedProcedureID": "RP*"}, True),
            ({"SOPInstanceUID": "1.2.3.1.1"}, True), ({"SOPInstanceUID": "1.2.3.1.2"}, False),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, True), ({"InstanceNumber": "1"}, True),
            ({"InstanceNumber": "01"}, True), ({"InstanceNumber": "3,4"}, False), ({"PatientName": "王*"}, True),
        ],
    )  # fmt: skip
    def test_a_series_or_instance_key_matches_relationally(
        self, index: Index, asked: dict[str, str], found: bool
    ) -> None:
        index.commit(a_pack(an_instance("1.2.3.1.1")), [])
        assert bool(index.find(Query(Level.INSTANCE, YANAN, where(**asked)))) is found

    def test_pages_are_disjoint_complete_and_newest_first(self, index: Index) -> None:
        for day in range(1, 8):
            study = a_study(f"1.2.{day}", study_date=f"2025030{day}")
            index.commit(a_pack(an_instance(f"1.2.{day}.1"), name=str(day), study=study), [])
        pages = [index.find(Query(Level.STUDY, YANAN, limit=3, offset=offset)) for offset in (0, 3, 6, 9)]
        assert [m.study_uid for page in pages for m in page] == [f"1.2.{day}" for day in range(7, 0, -1)]
        assert [len(page) for page in pages] == [3, 3, 1, 0]

    def test_counts_are_of_the_study_and_not_of_the_page(self, index: Index) -> None:
        index.commit(a_pack(an_instance("1.9.1", "1.2.3.1"), an_instance("1.9.2", "1.2.3.2")), [])
        match = index.find(Query(Level.INSTANCE, YANAN, where(SOPInstanceUID="1.9.2"), limit=1))[0]
        assert (match.study_series, match.study_instances, match.series_instances) == (2, 2, 1)

    def test_a_study_without_patient_id_is_kept(self, index: Index) -> None:
        for number in (1, 2):
            study = a_study(f"1.2.{number}", patient_id="", patient_name={})
            index.commit(a_pack(an_instance(f"1.2.{number}.1"), name=str(number), study=study), [])
        assert sorted(studies(index)) == ["1.2.1", "1.2.2"]

    def test_packs_of_one_study_committed_at_once_are_all_counted(self, index: Index) -> None:
        contents = [
            a_pack(
                *(an_instance(f"1.2.3.1.{p}.{n}") for n in range(5)), an_instance("1.2.3.1.99"), name=str(p)
            )
            for p in range(6)
        ]
        threads = [Thread(target=index.commit, args=(content, [])) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert index.find(Query(Level.STUDY, YANAN))[0].study_instances == 31
        assert len(index.instances(YANAN, "1.2.3")) == 31

    @pytest.mark.parametrize("level", list(Level))
    def test_each_gives_all_that_find_gives_in_the_same_order(
        self, index: Index, level: Level, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres_index, "MATCHES_AT_ONCE", 2)
        for number in range(1, 6):
            study = a_study(f"1.2.{number}", study_date=f"2025030{number % 2}", patient_id=f"P{number % 3}")
            series = tuple(a_series(f"1.2.{number}.{n}", number=(None, 2, 1)[n]) for n in range(3))
            instances = [
                an_instance(f"1.2.{number}.{n}.{i}", f"1.2.{number}.{n}", number=(None, 7, 7)[i])
                for n in range(3)
                for i in range(3)
            ]
            index.commit(a_pack(*instances, name=str(number), study=study, series=series), [])
            index.commit(
                a_pack(*instances, name=str(number), institution="zhidan", study=study, series=series), []
            )
        found = index.find(Query(level, EVERYONE, limit=1000))
        assert len(found) == {Level.PATIENT: 6, Level.STUDY: 10, Level.SERIES: 30, Level.INSTANCE: 90}[level]
        assert list(index.each(Query(level, EVERYONE, limit=3, offset=1))) == found
        asked = where(PatientID="P1")
        assert list(index.each(Query(level, YANAN, asked))) == index.find(
            Query(level, YANAN, asked, limit=1000)
        )

    def test_a_patient_is_answered_once_with_the_counts_of_all_its_studies(self, index: Index) -> None:
        old, new = a_study("1.2.1", study_date="20240101"), a_study("1.2.2", study_date="20250101")
        index.commit(a_pack(an_instance("1.9.1", "1.2.1.1"), name="old", study=old), [])
        mr = (a_series("1.2.2.1", modality="MR"), a_series("1.2.2.2", modality="MR"))
        index.commit(
            a_pack(an_instance("1.9.2", "1.2.2.1"), an_instance("1.9.3", "1.2.2.2"), study=new, series=mr), []
        )
        [patient] = index.find(Query(Level.PATIENT, YANAN, where(PatientID="P1", PatientName="wang*")))
        assert (patient.study_uid, patient.modalities) == ("1.2.2", ("CT", "MR"))
        assert (patient.patient_studies, patient.study_series, patient.study_instances) == (2, 3, 3)
        assert index.find(Query(Level.PATIENT, YANAN, where(PatientID="P2"))) == []

    def test_patients_of_one_id_are_apart_by_institution_and_issuer_and_without_id_there_is_none(
        self, index: Index
    ) -> None:
        for number, (institution, changes) in enumerate(
            [("yanan", {}), ("zhidan", {}), ("yanan", {"issuer": "HIS2"}), ("yanan", {"patient_id": ""})]
        ):
            study = a_study(f"1.2.{number}", **changes)
            index.commit(
                a_pack(an_instance(f"1.9.{number}"), name=str(number), institution=institution, study=study),
                [],
            )
        found = [(m.institution, m.study_uid) for m in index.find(Query(Level.PATIENT, EVERYONE))]
        assert found == [("yanan", "1.2.0"), ("zhidan", "1.2.1"), ("yanan", "1.2.2")]
        assert len(index.find(Query(Level.PATIENT, ZHIDAN))) == 1
        assert [m.study_uid for m in index.find(Query(Level.PATIENT, EVERYONE, limit=1, offset=1))] == [
            "1.2.1"
        ]

    def test_an_index_that_answers_can_be_pinged(self, index: Index) -> None:
        index.ping()
