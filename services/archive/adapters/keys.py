"""The form of object keys, the same for every store, so that a key is never a path out of the store."""

from __future__ import annotations

import re

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
MAX_KEY_LENGTH = 512


def check_key(key: str) -> str:
    """`key` if it is relative, and made of `[A-Za-z0-9._-]` parts none of which starts with a dot.

    Raises `ValueError`.
    """
    if len(key) > MAX_KEY_LENGTH or not all(_PART.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"{key[:80]!r} is no object key: parts of [A-Za-z0-9._-] separated by '/'")
    return key
