"""How long to wait after a failure: back-off with jitter, so that branches do not return in step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Waits of up to `first`, 2 x `first`, 4 x ... seconds, never above `longest`."""

    first: float = 0.5
    longest: float = 30.0

    def wait(self, failures: int, random: Callable[[], float], at_least: float | None = None) -> float:
        """Seconds to wait after the `failures`-th failure in a row (1 or more).

        `random` gives numbers in [0, 1). `at_least` is what the centre asked for (Retry-After, RFC 9110
        10.2.3): it is kept, and the jitter comes on top of it.
        """
        ceiling = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return (at_least or 0.0) + ceiling * (0.5 + random() / 2)
