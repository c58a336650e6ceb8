"""The errors of the comparison. Each says what happened, why, and what to do.

BenchError
├── ServerError    a program that is measured did not start, or ended
├── ClientError    a program that measures failed, or printed what cannot be read
├── CannotError    a subject does not do what the row asks; the row says so and goes on
└── KeepError      the results may not be kept: of a quick, partial or disturbed run
"""

from __future__ import annotations


class BenchError(Exception):
    """`what` happened, `why`, and the `action` that helps; `exit_code` per contracts section 13."""

    exit_code = 4

    def __init__(self, what: str, why: str, action: str) -> None:
        super().__init__(f"{what}: {why}. {action}")
        self.what, self.why, self.action = what, why, action


class ServerError(BenchError):
    """A program did not come up, or went away."""


class ClientError(BenchError):
    """What was asked was not answered, so there is nothing to measure."""


class CannotError(BenchError):
    """No fault: the subject has no such function. `why` is shown in the table."""

    def __init__(self, why: str) -> None:
        super().__init__("not measured", why, "Nothing needs to be done.")


class KeepError(BenchError):
    """The results do not hold what the documents promise of kept ones."""
