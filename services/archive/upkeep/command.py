"""The chores as commands of `python -m services.archive`: one JSON document on stdout, progress as JSON lines on stderr."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar

from services.archive.adapters.postgres_compaction import PostgresCompaction
from services.archive.adapters.postgres_ledger import PostgresLedger
from services.archive.parts import Parts, parts_of, sink_of
from services.archive.settings import ArchiveSettings
from services.archive.upkeep.check import GRACE, Check, Progress
from services.archive.upkeep.checkpoint import Begun, Checkpoint
from services.archive.upkeep.compaction import Compacted, Compaction
from services.archive.upkeep.ledger import Ledger
from services.archive.upkeep.plan import KEEP_HIDDEN, Rules
from services.archive.upkeep.sweep import Sweep, Swept
from services.common.clock import Clock

SAMPLE = 0.02
EVERY_SECONDS = 2.0
QUIET = timedelta(days=1)
SWEEP_GRACE = timedelta(days=1)
FOUND = 1
T = TypeVar("T")


def add_chores(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands and their options."""
    check_options = commands.add_parser("check", help="compare index and bucket; 1 where they differ")
    check_options.add_argument("--full", action="store_true", help="read and digest every byte of every pack")
    check_options.add_argument(
        "--sample", type=_share, default=SAMPLE, help="share of the packs whose bytes are read, 0 to 1"
    )
    check_options.add_argument(
        "--restart", action="store_true", help="begin anew, also where one was interrupted"
    )
    _seconds(check_options, "--grace-seconds", GRACE, "objects younger than this may wait for their rows")
    compact_options = commands.add_parser(
        "compact", help="write packs with dead bytes, or many small ones, anew"
    )
    _seconds(compact_options, "--quiet-seconds", QUIET, "studies with newer packs are left alone")
    _seconds(compact_options, "--keep-hidden-seconds", KEEP_HIDDEN, "how long hidden bytes are kept")
    sweep_options = commands.add_parser(
        "sweep", help="remove what compaction replaced; enter or list orphans"
    )
    _seconds(sweep_options, "--grace-seconds", SWEEP_GRACE, "how long readers may use the old place")


def run_chore(command: str, settings: ArchiveSettings, options: argparse.Namespace) -> int:
    """Run `check`, `compact` or `sweep`; the exit status. Raises `Unavailable`: run again, it goes on."""
    chore: dict[str, Callable[[ArchiveSettings, argparse.Namespace], int]] = {
        "check": check, "compact": compact, "sweep": sweep,
    }  # fmt: skip
    return chore[command](settings, options)


def check(settings: ArchiveSettings, options: argparse.Namespace) -> int:
    """Compare and tell; 1 where there is a difference."""
    parts = parts_of(settings)
    checkpoint = Checkpoint(settings.spool_directory)
    share = 1.0 if options.full else options.sample
    begun = None if options.restart else checkpoint.load()
    if begun is None or begun.share != share:
        begun = Begun(share, uuid.uuid4().hex, Progress())
    document = run_check(parts, PostgresLedger(settings.dsn), checkpoint, begun, options.grace_seconds)
    print(json.dumps(document))
    return FOUND if document["differences"] else 0


def run_check(
    parts: Parts, ledger: Ledger, checkpoint: Checkpoint, begun: Begun, grace: timedelta
) -> dict[str, Any]:
    """Run a check to its end, keeping how far it is; what it found."""
    packs, stored_bytes = ledger.totals()
    resumed = begun.progress.packs

    def tell(progress: Progress) -> None:
        checkpoint.keep(begun)
        report("check", {"packs": progress.packs, "of": packs, "read_bytes": progress.read_bytes,
                         "of_bytes": int(stored_bytes * begun.share), "differences": len(progress.differences)})  # fmt: skip

    worker = Check(
        parts.store, ledger, parts.clock, share=begun.share, seed=begun.seed, grace=grace,
        step=now_and_then(parts.clock, tell),
    )  # fmt: skip
    try:
        worker.run(begun.progress)
    except BaseException:
        checkpoint.keep(begun)
        raise
    checkpoint.finish(begun, parts.clock.now().timestamp())
    return {**asdict(begun.progress), "share": begun.share, "resumed_after_packs": resumed}


def compact(settings: ArchiveSettings, options: argparse.Namespace) -> int:
    """Compact the centre's archive; 1 where a study was left because it is not as it should be."""
    if settings.outbox_directory is not None:
        # Receipts, outbox and the edge's ledger name packs; retention frees a branch's disk.
        raise ValueError(
            "a branch's packs are not compacted: its retention removes them (contracts, section 19)"
        )
    parts = parts_of(settings)

    def tell(done: Compacted) -> None:
        report("compact", asdict(done))

    worker = Compaction(
        parts.store, PostgresCompaction(settings.dsn), parts.clock, settings.spool_directory / "compaction",
        rules=Rules(keep_hidden=options.keep_hidden_seconds), step=now_and_then(parts.clock, tell),
    )  # fmt: skip
    done = worker.run(parts.clock.now() - options.quiet_seconds)
    print(json.dumps(asdict(done)))
    return FOUND if done.skipped else 0


def sweep(settings: ArchiveSettings, options: argparse.Namespace) -> int:
    """Sweep; 1 where an object was left that somebody has to look at."""
    parts = parts_of(settings)

    def tell(done: Swept) -> None:
        report("sweep", {**asdict(done), "left": len(done.left)})

    worker = Sweep(
        parts.store, PostgresCompaction(settings.dsn), sink_of(settings, parts), parts.clock,
        grace=options.grace_seconds, step=now_and_then(parts.clock, tell),
    )  # fmt: skip
    done = worker.run()
    print(json.dumps(asdict(done)))
    return FOUND if done.left else 0


def now_and_then(clock: Clock, tell: Callable[[T], None]) -> Callable[[T], None]:
    """`tell`, but at most once in `EVERY_SECONDS`."""
    last = clock.monotonic()

    def step(progress: T) -> None:
        nonlocal last
        if clock.monotonic() - last >= EVERY_SECONDS:
            last = clock.monotonic()
            tell(progress)

    return step


def report(task: str, figures: dict[str, Any]) -> None:
    """One line of progress."""
    print(json.dumps({"progress": task, **figures}), file=sys.stderr, flush=True)


def _seconds(parser: argparse.ArgumentParser, name: str, default: timedelta, text: str) -> None:
    parser.add_argument(
        name,
        type=_duration,
        default=default,
        metavar="SECONDS",
        help=f"{text} ({default.total_seconds():.0f})",
    )


def _duration(text: str) -> timedelta:
    seconds = float(text)
    if not 0 <= seconds <= 1e9:
        raise argparse.ArgumentTypeError("seconds are between 0 and a thousand million")
    return timedelta(seconds=seconds)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a share is between 0 and 1")
    return value
