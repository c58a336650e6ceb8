"""The rows there are, by their numbers. Row 10 (a branch's line to the centre) is measured with the branch."""

from __future__ import annotations

from bench.rows.receive import Receive
from bench.rows.row import Row
from bench.rows.store import Store


def rows() -> dict[int, Row]:
    """Number -> row, in the order in which they are measured."""
    found: list[Row] = [Receive(), Store()]
    return {row.number: row for row in found}
