"""Counting events that are rare, so that the first one is not missed."""

from __future__ import annotations


def events(counter: str, by: str, window: str) -> str:
    """How often `counter` (a selector) counted within `window`, by the labels `by`.

    A labelled counter is born with its first event, at 1, and `increase()` sees no step from nothing:
    a series that is younger than the window is therefore taken at its value.
    """
    return f"sum by ({by}) (({counter} unless {counter} offset {window}) or increase({counter}[{window}]))"
