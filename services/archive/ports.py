"""What the archive needs from the outside world, as Protocols (docs/contracts.md, section 6).

Errors of the object store:

    ObjectStoreError
    |-- ObjectMissing       the key is not there
    |-- ObjectConflict      the key holds other content: nothing was overwritten
    |-- ObjectDamaged       the bytes are not the ones announced (length, SHA-256) or cannot be read back
    |-- StoreOutOfRoom      no room; nothing of this object is kept
    |-- KeyUnusable         the object's key is not here or cannot be opened
    `-- StoreUnavailable    the store does not answer; try again later
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from services.archive.index.query import Query
    from services.archive.index.records import (
        Conflict,
        Match,
        Outcome,
        PackContent,
        ReceiptRecord,
        StoredInstance,
    )
    from services.archive.reading.metadata import SeriesMetadata
    from services.archive.tombstones.document import Target, Tombstone
    from services.packs.pack import Footer


class ObjectStoreError(Exception):
    """An object store could not do what it was asked; the message says what, why and what to do."""


class ObjectMissing(ObjectStoreError):
    """There is no object under this key."""


class ObjectConflict(ObjectStoreError):
    """The key already holds other content; an object is never overwritten."""


class ObjectDamaged(ObjectStoreError):
    """The bytes are not those that were announced: a length or a SHA-256 differs, or a range ends early."""


class StoreOutOfRoom(ObjectStoreError):
    """The store has no room for the object; nothing of it is kept."""


class KeyUnusable(ObjectStoreError):
    """A key that an object is, or is to be, encrypted with is missing or cannot be opened."""


class StoreUnavailable(ObjectStoreError):
    """The store does not answer or refuses us; the same call may succeed later."""


class ObjectStore(Protocol):
    """Immutable objects under slash-separated keys. Every method may raise `StoreUnavailable`.

    A key is relative, has no empty, `.` or `..` part and holds only `[A-Za-z0-9._-]` and `/`
    (`ValueError` otherwise).
    """

    def put(self, key: str, source: Path | BinaryIO, length: int, sha256: str | None) -> None:
        """Store `length` bytes of `source` whose SHA-256 is `sha256` (lower-case hex); durable on return.

        The same content again is success. A `Path` names a finished file that nobody will change: an
        adapter may link it instead of copying. None in place of its SHA-256: the caller has written this file, and
        nobody announced what it should be. Raises `ObjectConflict`, `ObjectDamaged`, `StoreOutOfRoom`.
        """

    def size(self, key: str) -> int:
        """Length of the object in bytes. Raises `ObjectMissing`."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises `ObjectMissing`, `ObjectDamaged` if it ends before."""

    def stream(self, key: str, offset: int, length: int) -> Iterator[bytes]:
        """The same bytes as `read` in pieces of at most 1 MiB; errors may also come between two pieces."""

    def exists(self, key: str) -> bool:
        """Whether an object lies under this key."""

    def key_id(self, key: str) -> str | None:
        """The data key that this store encrypted the object with; None: it is in clear. Raises `ObjectMissing`."""

    def modified(self, key: str) -> datetime:
        """When the object was put, by the store's clock. Raises `ObjectMissing`."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys that start with `prefix` (any string), in ascending order."""

    def delete(self, key: str) -> None:
        """Remove the object; a missing one is success. Only sweeps and retention call this."""

    def end_unfinished(self, before: datetime) -> int:
        """Remove what puts that began before this moment left behind without coming to an end; how many."""


class PackSink(Protocol):
    """Where a sealed pack goes: `store` it, then `commit` it. Both are idempotent.

    Any exception means: keep the file, try again; `Unavailable` and `NoRoom` that no other pack will fare
    better. The file belongs to the sealer, which removes it once `commit` returned; a sink may link it.
    """

    def store(self, path: Path, footer: Footer) -> None:
        """The object into the store, then (branch) the outbox link: from now on it can be forwarded."""

    def commit(self, path: Path, footer: Footer) -> None:
        """The rows of a stored pack, in one transaction."""


class Index(Protocol):
    """What is stored and where its bytes lie: a projection of the packs (contracts, section 11; ADR-0004).

    Every method may raise `services.archive.errors.IndexUnavailable`; none changes anything then.
    `institutions` is whose data the caller may see, None for every institution.
    """

    def commit(self, content: PackContent, receipts: Sequence[ReceiptRecord]) -> Outcome:
        """Enter a pack and its receipts in one transaction; durable on return.

        Idempotent by pack id; a known pack only gains receipts it lacks. An instance whose identity
        and digest are known changes nothing; one with a known identity and another digest is kept as a
        conflict, and the first stays addressable.
        """

    def unknown_packs(self, pack_ids: Collection[str]) -> set[str]:
        """Those of `pack_ids` that were never committed."""

    def rekeyed(self, pack_id: str, key_id: str | None) -> None:
        """The store now holds this pack under another data key; of a pack without rows nothing is noted."""

    def receipts(self, institution: str, pack_id: str, epoch: int) -> list[str]:
        """Receipts of this epoch for an institution's pack, as compact JWS in pack order; empty if it has none."""

    def find(self, query: Query) -> list[Match]:
        """Answers in a stable order: newest study first, then series number, then instance number.

        Patients come as they were first stored; a study without a Patient ID belongs to none.
        """

    def each(self, query: Query) -> Iterator[Match]:
        """All that `find` would answer, whatever the query's `limit` and `offset`, in the same order.

        Read page by page as the caller goes on: what is held does not grow with the number of answers, and
        between two pages nothing of the index is. What is entered meanwhile may be among them or not.
        """

    def instances(
        self,
        institutions: frozenset[str] | None,
        study_uid: str,
        series_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> list[StoredInstance]:
        """Where the instances' bytes lie, in reading order; empty when there is nothing to be seen."""

    def holders(self, institutions: frozenset[str] | None, study_uid: str) -> frozenset[str]:
        """The institutions among those that hold something of this study."""

    def holdings(self, institution: str, sop_instance_uids: Collection[str]) -> list[StoredInstance]:
        """Those of an institution's instances that are there and visible, in any order."""

    def headers(self, instances: Sequence[StoredInstance]) -> list[bytes]:
        """The ready DICOM JSON object of each, in the same order."""

    def series_metadata(
        self, institutions: frozenset[str] | None, study_uid: str, series_uid: str
    ) -> SeriesMetadata | None:
        """The metadata of a series as it is now; None where there is nothing to be seen, or several hold it."""

    def series_without_metadata(self, quiet_seconds: float, limit: int) -> list[int]:
        """Series, by a number of the index' own, whose metadata is not built and that have been quiet so long."""

    def build_metadata(self, series: int) -> bool:
        """Build it, so that it need only be read; False where the series changed meanwhile or is gone."""

    def conflicts(self, institutions: frozenset[str] | None, study_uid: str) -> list[Conflict]:
        """The further versions kept of instances of this study, oldest first."""

    def bury(self, tombstone: Tombstone) -> int:
        """Enter a tombstone and take what it hides out of the index, in one transaction; how many versions went.

        Idempotent. What is hidden is not entered again by `commit` either.
        """

    def unknown_tombstones(self, document_ids: Collection[str]) -> set[str]:
        """Those of `document_ids` that were never entered."""

    def newest_received(self, institution: str, target: Target) -> datetime | None:
        """When the newest version of what `target` names was received; None where there is nothing of it."""

    def ping(self) -> None:
        """Return if the index can be asked now."""
