"""The errors of an S3 endpoint as the object store's own; decided by S3's codes, never by message text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from services.archive.ports import (
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    StoreOutOfRoom,
    StoreUnavailable,
)

_MISSING = {"404", "NoSuchKey", "NotFound"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "EntityTooLarge", "507"}
_DAMAGED = {"BadDigest", "InvalidRange", "416", "InvalidPart", "IncompleteBody"}
TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
WRONG_KEY = {"400", "InvalidArgument", "InvalidRequest"}
"""Of a request with SSE-C headers, or without where they are needed; a HEAD has no code but its status."""


def code_of(error: ClientError) -> str:
    """S3's code of an error; of a HEAD the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What S3 refuses inside the block as one of `services.archive.ports`' errors; `what` was tried."""
    try:
        yield
    except ObjectStoreError:
        raise
    except ClientError as error:
        code = code_of(error)
        if code in _MISSING:
            raise ObjectMissing(f"cannot {what}: there is no such object") from error
        if code in _FULL:
            raise StoreOutOfRoom(f"cannot {what}: {code}; add storage or raise the quota") from error
        if code in _DAMAGED:
            raise ObjectDamaged(f"cannot {what}: the object store answers {code}") from error
        raise StoreUnavailable(f"cannot {what}: the object store answers {code}; try again later") from error
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable(f"cannot {what}: {error}; try again later") from error
