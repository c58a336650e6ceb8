"""The archive's own errors, below those of `services.common.errors`.

    PacsError
    ├── Unavailable 503
    │   ├── Busy                  work that only one may do is under way
    │   ├── IndexUnavailable      PostgreSQL does not answer
    │   ├── StoreAway             the object store does not answer
    │   └── KeysAway              a key of encryption at rest is missing or cannot be opened
    ├── BadRequest 400
    │   └── PackRefused           not a pack, or its content is not what it says
    ├── Forbidden 403
    │   └── ForeignPack           the certificate's institution or site is not the pack's
    ├── NoRoom 507
    ├── EntryBegun 409            a worklist entry whose examination has begun cannot be ordered otherwise
    └── StoredBytesDamaged 500    the store holds other bytes than the index promises

The object store's errors (`services.archive.ports`) are translated by `translate_store`; DIMSE
statuses of what a modality meets are in `services.archive.dimse`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from services.archive.ports import (
    KeyUnusable,
    ObjectConflict,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    StoreOutOfRoom,
)
from services.common.errors import BadRequest, Forbidden, NoRoom, PacsError, Unavailable


class IndexUnavailable(Unavailable):
    """PostgreSQL does not answer; what was acknowledged waits in the segment log or in packs."""

    slug = "index-unavailable"


class Busy(Unavailable):
    """Work that only one process may do at a time is under way."""

    slug = "busy"


class StoreAway(Unavailable):
    """The object store does not answer."""

    slug = "store-unavailable"


class KeysAway(Unavailable):
    """A key of encryption at rest is missing or cannot be opened: nothing of its institution can be read or kept."""

    slug = "keys-unavailable"


class PackRefused(BadRequest):
    """A body that is not a pack, or whose content is not what its footer says."""

    slug = "pack-refused"


class ForeignPack(Forbidden):
    """A pack of another institution or site than the client's certificate names."""

    slug = "foreign-pack"


class StoredBytesDamaged(PacsError):
    """The store misses or has altered bytes that the index promises: an incident, not a client's fault."""

    status, title, slug = 500, "Stored bytes damaged", "stored-bytes-damaged"


class EntryBegun(PacsError):
    """A worklist entry's examination has begun or ended: what was ordered stands."""

    status, title, slug = 409, "Examination begun", "entry-begun"

    def __init__(self, entry_id: str, state: str) -> None:
        super().__init__(
            f"The worklist entry {entry_id} is {state}.",
            action="Order a further step under another id.",
        )


@contextmanager
def translate_store() -> Iterator[None]:
    """Turn the object store's errors into ours."""
    try:
        yield
    except StoreOutOfRoom as error:
        raise NoRoom(
            "The object store is full; nothing was kept of this request.",
            action="Free or add storage, then resend.",
        ) from error
    except (ObjectMissing, ObjectDamaged, ObjectConflict) as error:
        raise StoredBytesDamaged(
            "The object store does not hold the bytes that the index promises.",
            action="Do not delete other copies; follow the runbook ArchiveStoredBytesDamaged.",
        ) from error
    except KeyUnusable as error:
        raise KeysAway(
            "The keys of encryption at rest cannot be opened.", action="Send the same request again."
        ) from error
    except ObjectStoreError as error:
        raise StoreAway("The object store does not answer.", action="Send the same request again.") from error
