"""Copies objects to the second site, sealed; and compares what is there with what should be."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath

from services.archive.encryption.data_key import PREFIX as KEYS
from services.archive.encryption.data_key import owner_of
from services.archive.encryption.key_ring import KeyRing
from services.archive.index.rebuild import PREFIX as PACKS
from services.archive.index.rebuild import stored_footer
from services.archive.ports import ObjectDamaged, ObjectStore
from services.archive.second_copy.ports import CopyQueue
from services.archive.second_copy.sealed_object import SealedObject, seal
from services.archive.tombstones.document import PREFIX as TOMBSTONES
from services.packs.pack import PackError

SMALL = (KEYS, TOMBSTONES)
"""Copied by comparing listings, before the packs: what a pack is opened with, and what hides it."""
_PACK_MAGIC_BYTES = 8
_log = logging.getLogger(__name__)


class Copier:
    """From `source`, which opens what it encrypted, to `target`, a bucket that keeps bytes as they come.

    Methods raise the stores' errors.
    """

    def __init__(self, source: ObjectStore, target: ObjectStore, ring: KeyRing, region: str) -> None:
        self._source, self._target, self._ring, self._region = source, target, ring, region

    def copy(self, key: str) -> bool:
        """Bring one object there; False if a sound copy was there already. Raises `ObjectDamaged` for a pack that is none."""
        if key.startswith(KEYS):
            document = self._source.read(key, 0, self._source.size(key))
            self._target.put(key, io.BytesIO(document), len(document), sha256(document).hexdigest())
            return True
        if self._target.exists(key):
            if self.is_sound(key):
                return False
            _log.error(
                "an object at the second site is not sound and is sent again", extra={"object_key": key}
            )
            self._target.delete(key)
        length = self._source.size(key)
        data_key = self._ring.for_writing(owner_of(key))
        pieces = self._checked(key, length) if key.startswith(PACKS) else self._source.stream(key, 0, length)
        with tempfile.TemporaryFile() as sealed:
            written = seal(data_key, self._region, key, pieces, sealed, length=length)
            sealed.seek(0)
            self._target.put(key, sealed, written.length, written.sha256)
        return True

    def copy_small(self) -> int:
        """Bring keys and tombstones there that are missing; how many."""
        copied = 0
        for prefix in SMALL:
            there = set(self._target.list(prefix))
            for key in self._source.list(prefix):
                if key not in there:
                    self.copy(key)
                    copied += 1
        return copied

    def is_sound(self, key: str) -> bool:
        """Whether the copy opens and is as long as the object here; its chunks are not read."""
        try:
            return self.open(key).length == self._source.size(key)
        except ObjectDamaged:
            return False

    def open(self, key: str) -> SealedObject:
        """The copy of an object, opened with the region's keys. Raises `ObjectDamaged` and `ObjectMissing`."""
        return open_copy(self._target, self._ring, self._region, key)

    def _checked(self, key: str, length: int) -> Iterator[bytes]:
        """A pack's bytes; at their end `ObjectDamaged` unless they are what its footer says."""
        try:
            footer, _ = stored_footer(self._source, key)
        except PackError as error:
            raise ObjectDamaged(f"{key} is no sound pack and was not copied: {error}") from error
        end = max(entry.offset + entry.length for entry in footer.instances)
        content, position = sha256(), 0
        for piece in self._source.stream(key, 0, length):
            content.update(piece[max(0, _PACK_MAGIC_BYTES - position) : max(0, end - position)])
            position += len(piece)
            yield piece
        if content.hexdigest() != footer.content_digest:
            raise ObjectDamaged(f"{key} has other content than its footer says and was not copied")


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison of the listings saw; `surplus`: there and no longer here."""

    objects: int
    missing: int
    surplus: int


def compare(source: ObjectStore, target: ObjectStore, queue: CopyQueue) -> Compared:
    """Look which objects the second site lacks, whatever was noted; packs among them are due again."""
    here = {key for prefix in (*SMALL, PACKS) for key in source.list(prefix)}
    there = {key for prefix in (*SMALL, PACKS) for key in target.list(prefix)}
    missing = here - there
    queue.again([PurePosixPath(key).stem for key in missing if key.startswith(PACKS)])
    return Compared(len(here), len(missing), len(there - here))


def open_copy(target: ObjectStore, ring: KeyRing, region: str, key: str) -> SealedObject:
    """The sealed object under `key`. Raises `ObjectDamaged`, `ObjectMissing`, `KeyUnusable`."""
    owner = owner_of(key)
    return SealedObject.open(
        lambda offset, length: target.read(key, offset, length),
        target.size(key),
        region,
        key,
        lambda key_id: ring.find(owner, key_id),
    )
