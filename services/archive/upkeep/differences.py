"""What a check can find: each kind of difference between index and bucket, and what it means for data."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """One word for each difference."""

    MISSING_OBJECT = "missing-object"
    WRONG_SIZE = "wrong-size"
    UNREADABLE_FOOTER = "unreadable-footer"
    MISPLACED_INSTANCE = "misplaced-instance"
    ALTERED_BYTES = "altered-bytes"
    MISSING_ROW = "missing-row"
    UNREADABLE_OBJECT = "unreadable-object"
    MISSING_TOMBSTONE = "missing-tombstone"
    UNREADABLE_TOMBSTONE = "unreadable-tombstone"
    TOMBSTONE_WITHOUT_ROW = "tombstone-without-row"


MEANINGS = {
    Kind.MISSING_OBJECT: "the index names a pack that the store does not hold: its instances cannot be read",
    Kind.WRONG_SIZE: "the object has another length than the index says",
    Kind.UNREADABLE_FOOTER: "a pack with rows has a footer that is altered or of another pack",
    Kind.MISPLACED_INSTANCE: "the index says that an instance lies where the footer says another thing",
    Kind.ALTERED_BYTES: "the instances' bytes have another SHA-256 than the footer says",
    Kind.MISSING_ROW: "a sound pack is in no query: the next start or `rebuild` enters it",
    Kind.UNREADABLE_OBJECT: "an object below packs/ is no sound pack and has no row",
    Kind.MISSING_TOMBSTONE: "the index hides instances by a document that the store does not hold",
    Kind.UNREADABLE_TOMBSTONE: "a tombstone is altered: an index made anew would not know it",
    Kind.TOMBSTONE_WITHOUT_ROW: "a deletion is not in effect: the next start or `rebuild` enters it",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding: what, where, and the particulars."""

    kind: Kind
    key: str
    detail: str
