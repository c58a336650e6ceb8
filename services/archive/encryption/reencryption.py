"""Everything in the bucket under the newest data keys: after an upgrade from a bucket in clear, and after a rotation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from services.archive.encryption.data_key import PREFIX
from services.archive.errors import translate_store
from services.archive.ports import Index, KeyUnusable, ObjectDamaged, ObjectMissing

_log = logging.getLogger(__name__)


class Bucket(Protocol):
    """The store whose objects are encrypted anew; `RgwStore`."""

    def list(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""

    def key_id(self, key: str) -> str | None:
        """See `ObjectStore`."""

    def reencrypt(self, key: str) -> bool:
        """Encrypt an object with the newest key of its institution; False if it was so already."""


@dataclass(slots=True)
class Reencrypted:
    """What a run saw: objects, those it encrypted, those it could not."""

    objects: int = 0
    encrypted: int = 0
    failed: int = 0


def reencrypt(bucket: Bucket, index: Index, stop: threading.Event | None = None) -> Reencrypted:
    """Encrypt whatever is in clear or under an older data key, and note it in the pack's rows.

    Runs beside normal work; what cannot be read is counted, reported and left. Interrupted, it is run again and
    goes on. Raises `StoreAway` or `IndexUnavailable`.
    """
    result = Reencrypted()
    with translate_store():
        for key in bucket.list(""):
            if stop is not None and stop.is_set():
                break
            if key.startswith(PREFIX):
                continue
            result.objects += 1
            try:
                result.encrypted += bucket.reencrypt(key)
                if key.endswith(".pack"):
                    index.rekeyed(PurePosixPath(key).stem, bucket.key_id(key))
            except ObjectMissing:
                continue  # compaction was faster
            except (ObjectDamaged, KeyUnusable):
                result.failed += 1
                _log.exception("an object cannot be encrypted anew", extra={"object_key": key})
    return result
