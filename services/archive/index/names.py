"""Person names for matching (PS3.4 C.2.2.2, PS3.5 6.2.1): Unicode, without case, width or padding."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from services.archive.index.records import SearchName

KEY_CHARACTERS = 256
WORD_CHARACTERS = 64
# The same in SQL: migration 0010 makes these words into an index, and a test compares the two.
_MARKS = re.compile("[\u0300-\u036f]")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})
_BETWEEN = re.compile("[ ^=,.'_·・\u2019-]+")


def key_text(text: str) -> str:
    """Text as a column that is matched and indexed may hold it: no NUL, no lone surrogate, no padding.

    At most `KEY_CHARACTERS`: a b-tree row has a size limit, and a value that breaks its VR's length
    must not keep an acknowledged instance out of the index. The DICOM JSON keeps it whole.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()[:KEY_CHARACTERS].strip()


def normalise(text: str) -> str:
    """The search form of one component group: NFKC, case folded, single spaces, no trailing `^`.

    PS3.4 C.2.2.2.1 lets an SCP match person names without regard to case and accents' encoding;
    NFKC makes half-width katakana and full-width letters equal to their usual forms.
    """
    # A NUL that went later would leave what stood around it side by side.
    folded = unicodedata.normalize("NFKC", text.replace("\0", "")).casefold()
    components = [" ".join(component.split()) for component in folded.split("^")]
    while components and not components[-1]:
        components.pop()
    return key_text("^".join(components))


def search_name(value: Mapping[str, Any]) -> SearchName:
    """The search form of a DICOM JSON PN value (PS3.18 F.2.2: Alphabetic, Ideographic, Phonetic)."""
    return SearchName(
        alphabetic=normalise(str(value.get("Alphabetic", ""))),
        ideographic=normalise(str(value.get("Ideographic", ""))),
        phonetic=normalise(str(value.get("Phonetic", ""))),
    )


def words_of(group: str) -> frozenset[str]:
    """The words of one normalised component group, without accents, and the group written as one word.

    Names are typed in any order and with or without a gap: 王^小東 as 王小東, Wang^Xiao Dong as wangxiaodong.
    """
    parts = [part for part in _BETWEEN.split(_without_accents(group)) if part]
    return frozenset(word[:WORD_CHARACTERS] for word in (*parts, "".join(parts)) if word)


def asked_words(text: str) -> tuple[str, ...]:
    """The words that a fuzzy query looks for; wildcards part words, since every word is a beginning anyway."""
    plain = _without_accents(normalise(re.sub(r"[*?]", " ", text)))
    return tuple(dict.fromkeys(part[:WORD_CHARACTERS] for part in _BETWEEN.split(plain) if part))


def name_words(name: SearchName) -> frozenset[str]:
    """The words of every component group."""
    return words_of(name.alphabetic) | words_of(name.ideographic) | words_of(name.phonetic)


def _without_accents(text: str) -> str:
    """Latin, Greek and Cyrillic letters without their marks; kana keep theirs, which make other sounds."""
    bare = _MARKS.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFC", bare).translate(_LETTERS)
