"""Two ascending sequences side by side, neither of them held in memory."""

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def side_by_side(
    rows: Iterator[T], key_of: Callable[[T], str], keys: Iterator[str]
) -> Iterator[tuple[str, T | None, bool]]:
    """By ascending key: the key, its row or None, and whether `keys` has it. Both must ascend by code points."""
    row, key = next(rows, None), next(keys, None)
    while row is not None or key is not None:
        if row is not None and (key is None or key_of(row) < key):
            yield key_of(row), row, False
            row = next(rows, None)
        elif key is not None and (row is None or key < key_of(row)):
            yield key, None, True
            key = next(keys, None)
        elif row is not None and key is not None:
            yield key, row, True
            row, key = next(rows, None), next(keys, None)
