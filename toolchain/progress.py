"""How long work tells where it is, without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One line per item: `update` may overwrite it, `done` ends it."""

    def update(self, item: str, doing: str) -> None:
        """Say what is being done for `item` just now."""

    def done(self, item: str, result: str, seconds: float | None = None) -> None:
        """Say how `item` ended; `seconds` where it did not last from its first update until now."""


class Silent:
    """Progress that nobody watches."""

    def update(self, item: str, doing: str) -> None:
        """Ignore it."""

    def done(self, item: str, result: str, seconds: float | None = None) -> None:
        """Ignore it."""
