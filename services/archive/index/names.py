"""Person names for matching (PS3.4 C.2.2.2, PS3.5 6.2.1): Unicode, without case, width or padding."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from services.archive.index.records import SearchName

KEY_CHARACTERS = 256


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
