"""What one connection, and all of them together, may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

_OWN_BYTES = 384 << 20
"""What the archive takes without any message: programs, threads, one inflated data set (`Limits`)."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`max_pdu` bytes are announced to peers and `largest_pdu` are read. `max_message` bounds a C-STORE, which goes to
    the disk; what goes through memory, `max_other_message` of any other message and `messages` of all that wait.

    A peer that stays silent `idle_seconds` in the middle of a message or before its association is cut off; between
    messages it may rest longer, since a modality keeps its association open from one scan to the next.
    """

    max_pdu: int = 256 << 10
    largest_pdu: int = 1 << 20
    max_message: int = 4 << 30
    max_other_message: int = 8 << 20
    messages: int = 64 << 20
    idle_seconds: float = 60.0
    association_idle_seconds: float = 600.0
    associations: int = 64
    per_peer: int = 16

    @classmethod
    def within(cls, memory_bytes: int) -> Self:
        """The limits of a process that may take this much memory."""
        usual = cls()
        messages = min(usual.messages, max(memory_bytes - _OWN_BYTES, 0) // 4)
        return cls(messages=messages, max_other_message=min(usual.max_other_message, messages))
