"""The data keys of every institution: made on first use, stored wrapped beside the packs, opened when needed.

A key is durable in the bucket before anything is encrypted with it. The bucket is the truth; the database has
a copy (`reconcile`). Clear keys live in this process's memory alone.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from services.archive.encryption.data_key import PREFIX, DataKey, WrappedKey, context_of
from services.archive.encryption.ports import KeyProvider, KeyRegister
from services.archive.ports import KeyUnusable, ObjectConflict, ObjectStore
from services.common.clock import Clock, rfc3339
from services.common.errors import Unavailable

FRESH_SECONDS = 60.0
"""How long this process may go on with the keys it knows while another one makes a new one."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    keys: tuple[DataKey, ...]
    at: float


@dataclass(slots=True)
class Rewrapped:
    """What a run of `rewrap` saw: all data keys, those wrapped anew, wrappings taken back, keys that do not open."""

    wrapping_key_id: str
    data_keys: int
    wrapped: int = 0
    removed: int = 0
    closed: int = 0


class KeyRing:
    """All data keys of a region. `objects` is the bucket without encryption; safe to use from many threads.

    Methods raise `KeyUnusable` where a key cannot be opened, and the store's errors.
    """

    def __init__(
        self,
        region: str,
        provider: KeyProvider,
        objects: ObjectStore,
        clock: Clock,
        register: KeyRegister | None = None,
    ) -> None:
        self._region, self._provider, self._objects, self._clock = region, provider, objects, clock
        self._register = register
        self._loaded: dict[str, _Loaded] = {}
        self._lock = threading.RLock()

    def for_writing(self, institution: str) -> DataKey:
        """The newest key of an institution; made now if it has none."""
        with self._lock:
            keys = self.all(institution)
            return keys[0] if keys else self.make(institution)

    def all(self, institution: str, *, fresh: bool = False) -> Sequence[DataKey]:
        """An institution's keys, newest first; `fresh`: looked up now, whatever is known."""
        with self._lock:
            known = self._loaded.get(institution)
            if fresh or known is None or self._clock.monotonic() - known.at > FRESH_SECONDS:
                known = _Loaded(self._load(institution, known.keys if known else ()), self._clock.monotonic())
                self._loaded[institution] = known
            return known.keys

    def find(self, institution: str, key_id: str) -> DataKey:
        """The key with this id. Raises `KeyUnusable` where the region has no such key."""
        for fresh in (False, True):
            for key in self.all(institution, fresh=fresh):
                if key.key_id == key_id:
                    return key
        raise KeyUnusable(
            f"{institution} has no data key {key_id} that opens; restore keys/ from the database or the second copy"
        )

    def make(self, institution: str) -> DataKey:
        """A new key that everything is encrypted with from now on; durable on return. Older objects keep theirs."""
        with self._lock:
            key = DataKey.generate(institution, rfc3339(self._clock.now()))
            self._keep(self._wrap(key, self._provider.current()))
            _log.warning("a data key was made", extra={"institution": institution, "key_id": key.key_id})
            return self.all(institution, fresh=True)[0]

    def institutions(self) -> list[str]:
        """Whoever has a data key, in the order of their names."""
        return sorted({name.split("/")[1] for name in self._objects.list(PREFIX)})

    def wrapping_keys(self) -> dict[str, Any]:
        """Which wrapping keys are here, by id."""
        return {"current": self._provider.current(), "known": sorted(self._provider.known())}

    def stored(self) -> list[WrappedKey]:
        """Every sound wrapping of every key in the bucket, in the order of their names."""
        found = []
        for name in self._objects.list(PREFIX):
            try:
                found.append(self._read(name))
            except KeyUnusable:
                _log.exception("an object beside the packs is no wrapped key", extra={"object_key": name})
        return found

    def rewrap(self) -> Rewrapped:
        """Wrap every data key with the current wrapping key; then take back what older ones wrapped.

        It may be interrupted anywhere and run again, beside other processes too. Nothing is taken back before every
        data key has been opened by its new wrapping, nor a wrapping whose wrapping key is not here: that may be newer.
        """
        current, usable = self._provider.current(), set(self._provider.known())
        wrappings: dict[tuple[str, str], dict[str, WrappedKey]] = {}
        for one in self.stored():
            wrappings.setdefault((one.institution, one.key_id), {})[one.wrapping_key_id] = one
        result = Rewrapped(current, len(wrappings))
        for by in wrappings.values():
            try:
                result.wrapped += self._wrap_by(current, by, usable)
            except KeyUnusable:
                _log.exception("a data key cannot be wrapped anew")
                result.closed += 1
        if not result.closed:
            for by in wrappings.values():
                for wrapping in by.keys() & usable - {current}:
                    self._remove(by[wrapping])
                    result.removed += 1
        if result.wrapped or result.removed or result.closed:
            _log.warning(
                "data keys were wrapped anew", extra={"count": result.wrapped, "removed": result.removed}
            )
        return result

    def _wrap_by(self, current: str, by: dict[str, WrappedKey], usable: set[str]) -> bool:
        """See to it that a data key opens by its wrapping with `current`, and put that into `by`; False if it did."""
        made = current not in by
        if made:
            by[current] = self._wrap(self._opened(by, usable), current)
            with suppress(ObjectConflict):  # another process was faster: its wrapping is as good
                self._keep(by[current])
        self._unwrap(self._read(by[current].object_key))
        return made

    def _opened(self, by: dict[str, WrappedKey], usable: set[str]) -> DataKey:
        refused: KeyUnusable | None = None
        for wrapping in sorted(by.keys() & usable):
            try:
                return self._unwrap(by[wrapping])
            except KeyUnusable as error:
                refused = error
        raise refused or KeyUnusable(
            f"{min(by.values(), key=lambda one: one.object_key).object_key} is wrapped with a key that is not here; "
            "restore it from the escrow (./pacs keys restore)"
        )

    def tend(self) -> None:
        """What is due at every start: bucket and database alike, and everything under the current wrapping key."""
        self.reconcile()
        self.rewrap()

    def _remove(self, key: WrappedKey) -> None:
        # From the database first: what it still had, `reconcile` would put back.
        if self._register is not None:
            self._register.remove(key)
        self._objects.delete(key.object_key)

    def reconcile(self) -> None:
        """Bring bucket and database to hold the same wrapped keys; what one lost, the other gives back."""
        if self._register is None:
            return
        registered = {key.object_key: key for key in self._register.all()}
        here = set(self._objects.list(PREFIX))
        for key in self.stored():
            if key.object_key not in registered:
                self._register.save(key)
        for name in registered.keys() - here:
            _log.warning("a wrapped key that the bucket lost is put back", extra={"object_key": name})
            self._put(registered[name])

    def _load(self, institution: str, known: Sequence[DataKey]) -> tuple[DataKey, ...]:
        """Open each key once, by whichever of its wrappings can be used; one that cannot stops no other key."""
        usable = self._provider.known()
        opened = {key.key_id: key for key in known}
        closed: dict[str, KeyUnusable] = {}
        there = set()
        for name in self._objects.list(f"{PREFIX}{institution}/"):
            key_id = name.split("/")[2]
            there.add(key_id)
            if key_id in opened:
                continue
            try:
                opened[key_id] = self._open(name, usable)
            except KeyUnusable as error:
                closed[key_id] = error
        lost = sorted(closed.keys() - opened.keys())
        for key_id in lost:
            _log.error("a data key cannot be opened", extra={"institution": institution, "key_id": key_id})
        found = [key for key in opened.values() if key.key_id in there]
        if lost and not found:
            # No new key in the place of lost ones: that would hide that nothing can be read.
            raise closed[lost[0]]
        return tuple(sorted(found, key=lambda key: (key.created_at, key.key_id), reverse=True))

    def _open(self, name: str, usable: Collection[str]) -> DataKey:
        wrapped = self._read(name)
        if wrapped.wrapping_key_id not in usable:
            raise KeyUnusable(
                f"{name} is wrapped with the key {wrapped.wrapping_key_id}, which is not here; "
                "restore it from the escrow (./pacs keys restore)"
            )
        return self._unwrap(wrapped)

    def _wrap(self, key: DataKey, wrapping_key_id: str) -> WrappedKey:
        context = context_of(self._region, key.institution, key.key_id, key.created_at)
        wrapped = self._provider.wrap(key.material, context, wrapping_key_id)
        return WrappedKey(self._region, key.institution, key.key_id, key.created_at, wrapping_key_id, wrapped)

    def _unwrap(self, key: WrappedKey) -> DataKey:
        # The region is ours whatever the document says: a key of another region must not open.
        context = context_of(self._region, key.institution, key.key_id, key.created_at)
        material = self._provider.unwrap(key.wrapped, context, key.wrapping_key_id)
        return DataKey(key.institution, key.key_id, key.created_at, material)

    def _keep(self, key: WrappedKey) -> None:
        self._put(key)
        if self._register is None:
            return
        try:
            self._register.save(key)
        except Unavailable:
            _log.warning("the database gets a new wrapped key later", extra={"key_id": key.key_id})

    def _put(self, key: WrappedKey) -> None:
        document = key.document()
        self._objects.put(key.object_key, io.BytesIO(document), len(document), sha256(document).hexdigest())

    def _read(self, name: str) -> WrappedKey:
        key = WrappedKey.parse(self._objects.read(name, 0, self._objects.size(name)), name)
        if key.object_key != name:
            raise KeyUnusable(f"{name} holds another key ({key.object_key}); restore it from the database")
        return key
