"""The index from packs alone (ADR-0004): at start for packs that lack rows, or for all of them."""

import logging
import threading
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from services.archive.commit import ArchiveSink
from services.archive.errors import translate_store
from services.archive.ports import Index, ObjectDamaged, ObjectMissing, ObjectStore, StoreUnavailable
from services.common.errors import Unavailable
from services.packs.pack import Footer, PackError, read_footer

PREFIX = "packs/"
BATCH = 500
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rebuilt:
    """What a run saw: packs in the store, packs it entered, objects that are no sound packs."""

    packs: int = 0
    entered: int = 0
    damaged: int = 0


def enter_missing(
    store: ObjectStore, index: Index, sink: ArchiveSink, stop: threading.Event | None = None
) -> Rebuilt:
    """Enter every stored pack that has no row, oldest first, so that the first version of an instance stays first.

    Runs beside normal work; a damaged object is reported and left. Raises `IndexUnavailable` or
    `StoreAway`; running it again goes on where it stopped.
    """
    result = Rebuilt()
    missing: list[tuple[str, str]] = []
    with translate_store():
        keys = (key for key in store.list(PREFIX) if key.endswith(".pack"))
        while batch := {PurePosixPath(key).stem: key for key in islice(keys, BATCH)}:
            result.packs += len(batch)
            for pack_id in index.unknown_packs(batch.keys()):
                footer = _sound_footer(store, batch[pack_id], result)
                if footer is not None:
                    missing.append((footer.sealed_at, footer.key))
        for _, key in sorted(missing):
            if stop is not None and stop.is_set():
                break
            _enter(store, sink, key, result)
    if result.entered or result.damaged:
        _log.warning("packs without rows were entered", extra={"count": result.entered})
    return result


def _sound_footer(store: ObjectStore, key: str, result: Rebuilt) -> Footer | None:
    try:
        footer, _ = stored_footer(store, key)
    except (PackError, ObjectMissing, ObjectDamaged):
        result.damaged += 1
        _log.exception("stored object is not a sound pack", extra={"pack_id": PurePosixPath(key).stem})
        return None
    return footer


def _enter(store: ObjectStore, sink: ArchiveSink, key: str, result: Rebuilt) -> None:
    try:
        sink.enter_stored(*stored_footer(store, key))
        result.entered += 1
    except (Unavailable, StoreUnavailable):
        raise
    except Exception:  # this pack's own trouble, whatever it is, must not keep the others out of the index
        result.damaged += 1
        _log.exception("stored pack cannot be entered", extra={"pack_id": PurePosixPath(key).stem})


def stored_footer(store: ObjectStore, key: str) -> tuple[Footer, int]:
    """The footer and size of the pack under its own key. Raises `PackError` and the store's errors."""
    size = store.size(key)
    footer = read_footer(lambda offset, length: store.read(key, offset, length), size)
    if footer.key != key:
        raise PackError(f"the object {key} holds another pack")
    return footer, size
