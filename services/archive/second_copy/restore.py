"""The bucket from the second copy: keys, tombstones and packs that it lacks; the index is rebuilt from them after."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from hashlib import sha256

from services.archive.encryption.data_key import PREFIX as KEYS
from services.archive.encryption.data_key import owner_of
from services.archive.encryption.key_ring import KeyRing
from services.archive.index.content import RangeFile
from services.archive.ports import KeyUnusable, ObjectDamaged, ObjectStore
from services.archive.second_copy.copier import open_copy

_AHEAD = 8 << 20
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Restored:
    """What a run saw at the second site: objects, those it brought back, those that are damaged there."""

    objects: int = 0
    restored: int = 0
    damaged: int = 0


def restore(target: ObjectStore, second: ObjectStore, ring: KeyRing, region: str) -> Restored:
    """Bring back every object of `second` that `target` lacks; what is there is not touched.

    Interrupted, it is run again and goes on. A damaged copy is counted, reported and left. Raises the stores'
    errors, and `KeyUnusable` where the region's wrapping key is not here.
    """
    result = Restored()
    for key in second.list(KEYS):
        result.objects += 1
        if not target.exists(key):
            document = second.read(key, 0, second.size(key))
            target.put(key, io.BytesIO(document), len(document), sha256(document).hexdigest())
            result.restored += 1
    for key in second.list(""):
        if key.startswith(KEYS):
            continue
        result.objects += 1
        if target.exists(key):
            continue
        try:
            sealed = open_copy(second, ring, region, key)
            with io.BufferedReader(RangeFile(sealed.read, 0, sealed.length), _AHEAD) as content:
                target.put(key, content, sealed.length, sealed.sha256)
            result.restored += 1
        except (ObjectDamaged, KeyUnusable) as error:
            # A key that nobody knows is this copy's damage only where its institution's keys do open.
            if isinstance(error, KeyUnusable) and not ring.all(owner_of(key)):
                raise
            result.damaged += 1
            _log.exception("a copy cannot be restored", extra={"object_key": key})
    return result
