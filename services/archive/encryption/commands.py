"""What an operator asks of the data keys: `python -m services.archive keys|rotate-keys|reencrypt`.

Each answers one JSON document and may be run again, beside a running archive.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.archive.encryption.customer_keys import CustomerKeys
from services.archive.encryption.reencryption import reencrypt as reencrypt_all
from services.archive.errors import translate_store
from services.archive.parts import bucket_of, keys_of, parts_of
from services.archive.settings import ArchiveSettings
from services.common.clock import SystemClock


def keys(settings: ArchiveSettings) -> dict[str, Any]:
    """Every data key, by which wrapping keys it is wrapped, and the wrapping keys that the archive has."""
    ring = _keys(settings).ring
    wrapped: dict[tuple[str, str, str], list[str]] = {}
    with translate_store():
        for one in ring.stored():
            name = (one.institution, one.created_at, one.key_id)
            wrapped.setdefault(name, []).append(one.wrapping_key_id)
        return {
            "wrapping_keys": ring.wrapping_keys(),
            "data_keys": [
                {"institution": institution, "created_at": created_at, "key_id": key_id, "wrapped_by": by}
                for (institution, created_at, key_id), by in sorted(wrapped.items())
            ],
        }


def rotate_keys(settings: ArchiveSettings) -> dict[str, Any]:
    """A new data key for every institution that has one; what is there keeps its own."""
    ring = _keys(settings).ring
    with translate_store():
        return {"made": {institution: ring.make(institution).key_id for institution in ring.institutions()}}


def reencrypt(settings: ArchiveSettings) -> dict[str, Any]:
    """See `reencryption.reencrypt`."""
    bucket = bucket_of(settings).encrypted(_keys(settings))
    return asdict(reencrypt_all(bucket, parts_of(settings).index))


def _keys(settings: ArchiveSettings) -> CustomerKeys:
    found = keys_of(settings, SystemClock())
    if found is None:
        raise ValueError("nothing is encrypted here: PACS_WRAPPING_KEYS_FILE is not set")
    return found
