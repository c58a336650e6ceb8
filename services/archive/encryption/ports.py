"""Who keeps the region's wrapping key, as Protocols: a file today, a token or a key service behind the same three calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from services.archive.encryption.data_key import WrappedKey


class KeyProvider(Protocol):
    """Wraps and unwraps data keys with a wrapping key of the region that never leaves it otherwise.

    `context` is authenticated and not stored: unwrapping under another one fails, so that a wrapped key cannot
    be put in the place of another institution's. Every method may raise `services.archive.ports.KeyUnusable`.
    """

    def current(self) -> str:
        """The id of the wrapping key that `wrap` uses now."""

    def known(self) -> Collection[str]:
        """The ids of all wrapping keys that `unwrap` can use; during a rotation the old one too."""

    def wrap(self, material: bytes, context: bytes, wrapping_key_id: str) -> bytes:
        """`material` encrypted and authenticated with this wrapping key; what it is made of is the provider's."""

    def unwrap(self, wrapped: bytes, context: bytes, wrapping_key_id: str) -> bytes:
        """The material that `wrap` was given. Fails for another context, another key or altered bytes."""


class KeyRegister(Protocol):
    """A second place for wrapped keys beside the bucket: the data centre's database.

    It holds no key that opens them. Every method may raise `services.archive.errors.IndexUnavailable`.
    """

    def save(self, key: WrappedKey) -> None:
        """Keep it; the same again is success."""

    def all(self) -> list[WrappedKey]:
        """Everything that was saved and not removed."""

    def remove(self, key: WrappedKey) -> None:
        """Forget it; one that is not there is success."""
