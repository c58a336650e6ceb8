"""What an operator asks of the second copy: `python -m services.archive second-copy|restore`; one JSON document each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from services.archive.adapters.postgres_copies import PostgresCopyQueue
from services.archive.errors import translate_store
from services.archive.parts import bucket_of, keys_of, second_bucket_of
from services.archive.second_copy.copier import compare
from services.archive.second_copy.restore import restore as restore_all
from services.archive.settings import ArchiveSettings
from services.common.clock import SystemClock

if TYPE_CHECKING:
    from services.archive.adapters.rgw_store import RgwStore


def second_copy(settings: ArchiveSettings) -> dict[str, Any]:
    """Compare both listings; what the second site lacks is copied again by the running archive."""
    queue = PostgresCopyQueue(settings.dsn)
    try:
        with translate_store():
            return asdict(compare(bucket_of(settings), _second(settings), queue))
    finally:
        queue.close()


def restore(settings: ArchiveSettings) -> dict[str, Any]:
    """Bring back what the bucket lacks; needs the wrapping key, and no database. `rebuild` comes after."""
    keys = keys_of(settings, SystemClock())
    assert keys is not None  # noqa: S101 - the settings demand them beside a second copy
    with translate_store():
        target = bucket_of(settings).encrypted(keys)
        return asdict(restore_all(target, _second(settings), keys.ring, settings.region))


def _second(settings: ArchiveSettings) -> RgwStore:
    found = second_bucket_of(settings)
    if found is None:
        raise ValueError("there is no second copy here: PACS_SECOND_COPY_ENDPOINT is not set")
    return found
