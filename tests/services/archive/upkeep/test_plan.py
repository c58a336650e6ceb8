"""What compaction leaves out is provably not needed, and what it joins keeps the order of versions."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.archive.tombstones.document import Grave, Target
from services.archive.upkeep.plan import Buried, Fate, Rules, Source, StudyState, fates_of, groups_of
from services.common.clock import rfc3339
from services.packs.footer import Footer, PackedInstance
from tests.services.archive.content import NOON, digest_of

LATER = NOON + timedelta(days=40)


def an_entry(uid: str, offset: int = 8, length: int = 100) -> PackedInstance:
    return PackedInstance(
        uid, "1.2", "1.2.3.1", "1.2.840.10008.1.2.1", offset, length, 30, digest_of(uid), "", 0, 0, (),
        rfc3339(NOON), "CT", "PACS",
    )  # fmt: skip


def a_footer(*entries: PackedInstance, site: str = "yanchang", key_id: str | None = None) -> Footer:
    return Footer("local", "yanan", site, "1.2.3", rfc3339(NOON), key_id, "0" * 64, entries)


def fate(footer: Footer, state: StudyState, rules: Rules | None = None) -> Fate:
    [only] = fates_of(footer, state, LATER, rules or Rules())
    return only


ONE = a_footer(an_entry("1.1"))
VERSION = ("1.1", digest_of("1.1"))


def buried(target: Target, age: timedelta, *, until: bool = False, frees: bool = True) -> StudyState:
    return StudyState({}, (Buried(Grave(target, NOON if until else None), LATER - age, frees),))


def test_a_version_that_the_index_finds_here_moves() -> None:
    assert fate(ONE, StudyState({VERSION: (ONE.pack_id, 8)}, ())) is Fate.MOVED


def test_a_version_that_the_index_finds_elsewhere_is_a_second_copy() -> None:
    assert fate(ONE, StudyState({VERSION: ("other", 8)}, ())) is Fate.DROPPED
    assert fate(ONE, StudyState({VERSION: (ONE.pack_id, 9000)}, ())) is Fate.DROPPED


def test_what_was_hidden_lately_is_kept_and_what_was_hidden_long_ago_is_not() -> None:
    assert fate(ONE, buried(Target("1.2.3"), timedelta(days=29))) is Fate.KEPT
    assert fate(ONE, buried(Target("1.2.3"), timedelta(days=30))) is Fate.DROPPED
    soon = Rules(keep_hidden=timedelta(hours=1))
    assert fate(ONE, buried(Target("1.2.3", "", "1.1"), timedelta(hours=2)), soon) is Fate.DROPPED


def test_what_was_rejected_is_kept_for_ever() -> None:
    assert fate(ONE, buried(Target("1.2.3"), timedelta(days=3000), frees=False)) is Fate.KEPT


@pytest.mark.parametrize("target", [Target("9.9"), Target("1.2.3", "9.9"), Target("1.2.3", "", "9.9")])
def test_what_is_neither_found_nor_hidden_is_unknown(target: Target) -> None:
    assert fate(ONE, buried(target, timedelta(days=90))) is Fate.UNKNOWN
    assert fate(ONE, StudyState({}, ())) is Fate.UNKNOWN


def test_a_tombstone_that_ended_before_it_was_received_does_not_hide_it() -> None:
    late = a_footer(replace(an_entry("1.1"), received_at=rfc3339(NOON + timedelta(seconds=1))))
    assert fate(late, buried(Target("1.2.3"), timedelta(days=90), until=True)) is Fate.UNKNOWN
    assert fate(ONE, buried(Target("1.2.3"), timedelta(days=90), until=True)) is Fate.DROPPED


def source(number: int, *fates: Fate, **owner: str) -> Source:
    size = 100
    entries = [an_entry(f"{number}.{n}", 8 + n * size, size) for n in range(1, len(fates) + 1)]
    footer = a_footer(*entries, site=owner.get("site", "yanchang"), key_id=owner.get("key_id"))
    return Source(f"packs/{number}", size * len(fates) + 500, footer, fates)


def joined(*sources: Source, **rules: int) -> list[list[str]]:
    return [[one.key for one in group] for group in groups_of(sources, Rules(**rules))]  # type: ignore[arg-type]


def test_few_packs_without_dead_bytes_are_left_alone() -> None:
    assert joined(*(source(n, Fate.MOVED) for n in range(1, 4))) == []


def test_many_small_packs_become_one() -> None:
    assert joined(*(source(n, Fate.MOVED) for n in range(1, 5))) == [
        ["packs/1", "packs/2", "packs/3", "packs/4"]
    ]


def test_a_pack_with_many_dead_bytes_is_written_anew() -> None:
    assert joined(source(1, Fate.MOVED, Fate.DROPPED)) == [["packs/1"]]
    assert joined(source(1, *[Fate.MOVED] * 9, Fate.DROPPED)) == []
    assert joined(source(1, Fate.DROPPED)) == [["packs/1"]]


def test_hidden_bytes_that_are_kept_are_not_dead() -> None:
    assert joined(source(1, Fate.MOVED, Fate.KEPT)) == []


def test_a_group_is_never_larger_than_its_target() -> None:
    packs = [source(n, Fate.MOVED) for n in range(1, 9)]
    assert joined(*packs, target_bytes=400) == [
        ["packs/1", "packs/2", "packs/3", "packs/4"], ["packs/5", "packs/6", "packs/7", "packs/8"],
    ]  # fmt: skip


def test_packs_of_two_sites_or_keys_are_not_joined_nor_stepped_over() -> None:
    packs = [source(n, Fate.MOVED, site="yanchang" if n != 3 else "zhidan") for n in range(1, 6)]
    assert joined(*packs) == []
    keyed = [source(n, Fate.MOVED, **({"key_id": "k"} if n % 2 else {})) for n in range(1, 9)]
    assert joined(*keyed) == []
