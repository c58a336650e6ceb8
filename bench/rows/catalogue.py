"""The rows there are, by their numbers. Row 10 (a branch's line to the centre) is measured with the branch."""

from __future__ import annotations

from bench.rows.cold import ColdFrames
from bench.rows.frames import Frames
from bench.rows.growth import Growth
from bench.rows.metadata import Metadata
from bench.rows.reading_room import ReadingRoomJourney
from bench.rows.receive import Receive
from bench.rows.row import Row
from bench.rows.search import Search
from bench.rows.store import Store
from bench.rows.stow import Stow
from bench.rows.study import Study


def rows() -> dict[int, Row]:
    """Number -> row, in the order in which they are measured."""
    found: list[Row] = [
        Receive(), Store(), Growth(), Stow(), Frames(), ColdFrames(), Metadata(), Search(), Study(), ReadingRoomJourney()
    ]  # fmt: skip
    return {row.number: row for row in found}
