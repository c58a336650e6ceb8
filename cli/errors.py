"""Foreseen errors, told as what happened, why, and what to do.

Any exception with `what`, `why` and `action` is one (`toolchain.errors` has its own tree); the ones
below are the commands' own. Errors of other packages that carry one text are given the rest here.

PacsError
├── UsageError    the command or the stack file is wrong          exit 2
├── MachineError  this machine lacks something                    exit 3
└── StepError     a step failed; running again continues          exit 4
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cli.exit_codes import ExitCode


class PacsError(Exception):
    """A foreseen error of a command."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, what: str, why: str, action: str) -> None:
        super().__init__(f"{what}: {why}. {action}")
        self.what, self.why, self.action = what, why, action


class UsageError(PacsError):
    """The command line or the stack's configuration cannot be acted on."""

    exit_code = ExitCode.USAGE


class MachineError(PacsError):
    """This machine is not able to do it as it is."""

    exit_code = ExitCode.MACHINE


class StepError(PacsError):
    """Something that normally works did not; the command can be run again."""


@dataclass(frozen=True)
class Explanation:
    """What a person is told about an error."""

    what: str
    why: str
    action: str
    exit_code: ExitCode


# Errors that carry one text: (module, class) -> what happened, what to do, exit status. By name, so
# that telling an error does not import the package it did not come from.
_ONE_TEXT = {
    ("infra.config.region", "RegionConfigError"): (
        "the stack's configuration is wrong",
        "Correct the keys named above; stacks/README.md explains each.",
        ExitCode.USAGE,
    ),
    ("infra.pki.private_files", "PkiError"): (
        "the region's keys cannot be used",
        "The keys lie in the stack's state directory under secrets/pki; do what the text above says.",
        ExitCode.FAILED,
    ),
    ("infra.hosts.base", "HostError"): (
        "a host could not be brought to its state",
        "Run the command again: it continues where it stopped.",
        ExitCode.FAILED,
    ),
}


def explain(error: BaseException) -> Explanation | None:
    """What to tell about `error`; None where nobody foresaw it."""
    parts = [getattr(error, name, None) for name in ("what", "why", "action")]
    if all(isinstance(part, str) for part in parts):
        what, why, action = (str(part) for part in parts)
        return Explanation(what, why, action, ExitCode(getattr(error, "exit_code", ExitCode.FAILED)))
    for (module, name), (what, action, code) in _ONE_TEXT.items():
        known = getattr(sys.modules.get(module), name, None)
        if isinstance(known, type) and isinstance(error, known):
            return Explanation(what, str(error), action, code)
    return None
