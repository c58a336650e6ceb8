"""What of a study can be read at the centre, byte for byte, while parts of the region may be down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

import requests

from cli.verify.centre import Centre, CentreError
from cli.verify.corpus import Specimen
from cli.verify.target import Target
from tests.region.scanner import Acknowledged

T = TypeVar("T")


def readable(target: Target, specimen: Specimen, since: float, seconds: float) -> float | None:
    """Seconds from `since` until the centre gives the slice with the right digest; None if it never does."""
    centre = Centre(target)
    while monotonic() - since < seconds:
        part10 = _asked(lambda: centre.instance(specimen))
        if part10 is not None and part10.digest == specimen.digest:
            return monotonic() - since
        centre.pause()
    return None


def lost(
    target: Target,
    acknowledged: Sequence[Acknowledged],
    *,
    seconds: float,
    nothing_comes: Callable[[], bool] = lambda: False,
) -> set[str]:
    """UIDs of acknowledged slices of one series that the centre does not give with the right digest.

    Looks until none is missing, `seconds` have passed, or `nothing_comes` says that waiting is in vain.
    """
    wanted = {slice_.specimen.digest: slice_.specimen.sop_uid for slice_ in acknowledged}
    first = acknowledged[0].specimen
    centre, begun = Centre(target), monotonic()
    while True:
        last_look = monotonic() - begun > seconds or nothing_comes()
        count = _asked(lambda: centre.instance_count(first.study_uid, first.series_uid)) or 0
        if count >= len(wanted) or last_look:
            read = _asked(lambda: centre.series(first))
            missing = {uid for digest, uid in wanted.items() if digest not in (read or {})}
            if not missing or last_look:
                return missing
        centre.pause()


def conflicts(target: Target, specimen: Specimen) -> int:
    """How many versions beside the first the centre keeps in the study; a slice sent twice makes none."""
    return len(Centre(target).conflicts(specimen.study_uid))


def _asked(question: Callable[[], T]) -> T | None:
    """The answer; None where the centre is down for the moment."""
    try:
        return question()
    except (CentreError, requests.RequestException):
        return None
