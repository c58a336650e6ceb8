"""What a person or a program sees: data on stdout, everything else on stderr.

NO_COLOR is honoured by rich itself. Off a terminal, progress becomes plain lines: one when an item
begins, one every half minute, one when it ends. All of it goes to the log file too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.status import Status

from cli.errors import Explanation
from toolchain.paths import cache_directory, state_directory

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)
log = logging.getLogger("pacs")
log.addHandler(logging.NullHandler())  # before a log file is open, nothing may reach the terminal

_PLAIN_SECONDS = 30.0
_ITEM_WIDTH = 24
_SLOW_SECONDS = 1.0


def emit(document: object, table: RenderableType, *, as_json: bool) -> None:
    """Print a verb's data: one JSON document, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
    else:
        out.print(table)


def say(text: str) -> None:
    """One line for people, on stderr."""
    log.info(text)
    err.print(escape(text), soft_wrap=True)


class Lines:
    """Progress as one line per item (`toolchain.progress.Progress`)."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._printed: dict[str, float] = {}
        self._status: Status | None = None

    def update(self, item: str, doing: str) -> None:
        """Show what is being done for `item`; on a terminal this line is overwritten."""
        now = time.monotonic()
        self._begun.setdefault(item, now)
        log.debug("%s: %s", item, doing)
        if self._status is not None:
            self._status.update(f"{escape(item):<{_ITEM_WIDTH}} [dim]{escape(doing)}[/dim]")
        elif now - self._printed.get(item, -_PLAIN_SECONDS) >= _PLAIN_SECONDS:
            self._printed[item] = now
            err.print(f"  … {escape(item):<{_ITEM_WIDTH}} {escape(doing)}", soft_wrap=True)

    def done(self, item: str, result: str, seconds: float | None = None) -> None:
        """Leave one line that says how `item` ended, with its time when that was worth knowing."""
        begun = self._begun.pop(item, time.monotonic())
        took = time.monotonic() - begun if seconds is None else seconds
        self._printed.pop(item, None)
        log.info("%s: %s (%.1f s)", item, result, took)
        slow = f" [dim]({took:.0f} s)[/dim]" if took >= _SLOW_SECONDS else ""
        err.print(f"  [green]✓[/green] {escape(item):<{_ITEM_WIDTH}} {escape(result)}{slow}", soft_wrap=True)

    def failed(self, item: str, reason: str) -> None:
        """Leave one line that says that `item` did not end well."""
        self._begun.pop(item, None)
        log.error("%s: %s", item, reason)
        err.print(f"  [red]✗[/red] {escape(item):<{_ITEM_WIDTH}} {escape(reason)}", soft_wrap=True)


@contextlib.contextmanager
def progress() -> Iterator[Lines]:
    """Lines of progress, with a moving last line where stderr is a terminal."""
    lines = Lines()
    if not err.is_terminal:
        yield lines
        return
    with err.status("") as status:
        lines._status = status
        yield lines


def show_error(explanation: Explanation, log_file: Path | None) -> None:
    """Tell a foreseen error: what, why, what to do, and where the details are."""
    err.print(f"[bold red]error:[/bold red] {escape(explanation.what)}", soft_wrap=True)
    for label, text in (("why", explanation.why), ("do", explanation.action)):
        first, *rest = text.strip().splitlines() or ["-"]
        err.print(f"  [bold]{label + ':':<6}[/bold]{escape(first)}", soft_wrap=True)
        for line in rest:
            err.print(f"        {escape(line)}", soft_wrap=True)
    if log_file is not None:
        err.print(f"  [bold]log:[/bold]  {escape(str(log_file))}", soft_wrap=True)


def start_log(stack: str, verb: str) -> Path | None:
    """Begin the log of this run and return its file: in the stack's state where that is there or `up` will make
    it, else in the cache: a verb that only looks makes no state. None where neither can be written."""
    state, cache = state_directory(stack), cache_directory()
    for directory in (*([state / "logs"] if verb == "up" or state.is_dir() else []), cache / "logs" / stack):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = directory / f"{verb}.log"
            handler = RotatingFileHandler(file, maxBytes=8 << 20, backupCount=3, encoding="utf-8")
        except OSError:
            continue
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        log.propagate = False
        log.info("begin: %s, stack %s, pid %d", verb, stack, os.getpid())
        return file
    return None
