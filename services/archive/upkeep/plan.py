"""Which packs of a study are written anew: pure decisions on what the index and the footers say.

Only what is provably not needed is left out of a new pack: a version that the index has elsewhere, or one that was
deleted or has expired longer than `keep_hidden` ago. Rejected ones are kept. A version that is neither found nor
hidden stops the study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from services.archive.tombstones.document import Grave
from services.packs.pack import Footer, PackedInstance

TARGET_BYTES = 64 << 20
FEWEST_PACKS = 4
DEAD_SHARE = 0.3
KEEP_HIDDEN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Rules:
    """When rewriting is worth it, and for how long hidden bytes are kept."""

    target_bytes: int = TARGET_BYTES
    fewest_packs: int = FEWEST_PACKS
    dead_share: float = DEAD_SHARE
    keep_hidden: timedelta = KEEP_HIDDEN


@dataclass(frozen=True, slots=True)
class Buried:
    """A grave, when it was dug, and whether its bytes may go: a rejection says what is wrong, not that it be destroyed."""

    grave: Grave
    deleted_at: datetime
    frees: bool


@dataclass(frozen=True, slots=True)
class StudyState:
    """What the index says of a study: where each living version lies, and what is hidden."""

    places: dict[tuple[str, str], tuple[str, int]]
    """(SOP Instance UID, digest) -> (pack id, offset)"""
    buried: tuple[Buried, ...]


class Fate(Enum):
    """What becomes of one instance of an old pack."""

    MOVED = "living: copied, its row follows"
    KEPT = "rejected, or deleted lately: copied, without a row"
    DROPPED = "a second copy, or deleted long ago: left out"
    UNKNOWN = "neither found nor hidden: the index lacks it"


@dataclass(frozen=True, slots=True)
class Source:
    """An old pack: its key, size, footer, and the fate of each of its instances."""

    key: str
    length: int
    footer: Footer
    fates: tuple[Fate, ...]

    @property
    def copied(self) -> list[PackedInstance]:
        return [
            one
            for one, fate in zip(self.footer.instances, self.fates, strict=True)
            if fate is not Fate.DROPPED
        ]

    @property
    def copied_bytes(self) -> int:
        return sum(one.length for one in self.copied)


def fates_of(footer: Footer, state: StudyState, now: datetime, rules: Rules) -> tuple[Fate, ...]:
    """What becomes of each instance of this pack."""
    return tuple(_fate(footer, one, state, now, rules) for one in footer.instances)


def _fate(footer: Footer, one: PackedInstance, state: StudyState, now: datetime, rules: Rules) -> Fate:
    place = state.places.get((one.sop_instance_uid, one.digest))
    if place is not None:
        return Fate.MOVED if place == (footer.pack_id, one.offset) else Fate.DROPPED
    version = _Version(one)
    covering = [buried for buried in state.buried if buried.grave.covers(footer.study_uid, version)]
    if not covering:
        return Fate.UNKNOWN
    long_ago = any(one.frees and now - one.deleted_at >= rules.keep_hidden for one in covering)
    return Fate.DROPPED if long_ago else Fate.KEPT


class _Version:
    """A packed instance as a tombstone looks at it."""

    def __init__(self, one: PackedInstance) -> None:
        self.series_uid, self.sop_instance_uid, self.digest = one.series_uid, one.sop_instance_uid, one.digest
        self.received_at = datetime.fromisoformat(one.received_at)


def groups_of(sources: Sequence[Source], rules: Rules) -> list[list[Source]]:
    """The groups of neighbouring packs that are worth one new pack each; `sources` oldest first.

    Only neighbours of one site and key are joined, so that the order of versions stays what it was.
    """
    groups: list[list[Source]] = []
    for source in sources:
        last = groups[-1] if groups else []
        if (
            last
            and _owner(last[-1].footer) == _owner(source.footer)
            and sum(one.copied_bytes for one in last) + source.copied_bytes <= rules.target_bytes
        ):
            last.append(source)
        else:
            groups.append([source])
    return [group for group in groups if _is_worth_it(group, rules)]


def _owner(footer: Footer) -> tuple[str, str, str | None]:
    return (footer.region, footer.site, footer.key_id)


def _is_worth_it(group: Sequence[Source], rules: Rules) -> bool:
    whole = sum(one.length for source in group for one in source.footer.instances)
    dead = whole - sum(source.copied_bytes for source in group)
    return len(group) >= rules.fewest_packs or (dead > 0 and dead >= rules.dead_share * whole)
