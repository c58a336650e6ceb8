"""What `./pacs` says by its exit status (contracts section 13)."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The same in every verb."""

    DONE = 0
    DIFFERENCE = 1
    USAGE = 2
    MACHINE = 3
    FAILED = 4
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.DIFFERENCE: "the check found a difference (verify, doctor, load, test, archive)",
    ExitCode.USAGE: "wrong usage or configuration",
    ExitCode.MACHINE: "this machine lacks something; ./pacs doctor says what",
    ExitCode.FAILED: "a step failed and can be run again",
    ExitCode.INTERRUPTED: "interrupted",
}
