"""What can go wrong between an outbox and a receipt, by what the forwarder does about it.

PacsError
└── ForwardingError
    ├── LineDown              the centre cannot take anything now: the whole line waits, one pack tries
    │   └── IdentityRefused   ... because it refuses this site's certificate; renewal is the cure
    ├── ReceiptRejected       an answer that proves nothing: this pack waits and is sent again
    └── PackRefused           this pack will never be taken: it is set aside for support
"""

from __future__ import annotations

from typing import Any

from services.common.errors import PacsError


class ForwardingError(PacsError):
    """A pack has no valid receipts yet; `reason` is a metric label."""

    title, slug = "Not forwarded", "not-forwarded"
    reason = "other"


class LineDown(ForwardingError):
    """Network trouble, or the centre says that it is busy, full or not ready."""

    title, slug = "The line to the centre is down", "line-down"

    def __init__(
        self, detail: str, *, reason: str, retry_after: float | None = None, action: str = ""
    ) -> None:
        super().__init__(
            detail, action=action or "Nothing is lost; the packs wait here and go by themselves."
        )
        self.reason = reason
        self.wait_seconds = retry_after


class IdentityRefused(LineDown):
    """The gateway does not accept this site's certificate; the packs are not to blame."""

    title, slug = "Site certificate refused", "identity-refused"


class ReceiptRejected(ForwardingError):
    """The centre answered 200 but a receipt is missing, forged, stale or of something else."""

    title, slug = "Receipt rejected", "receipt-rejected"

    def __init__(self, detail: str, *, reason: str) -> None:
        super().__init__(
            detail, action="Compare the centre's receipt key with the pinned root; the pack stays here."
        )
        self.reason = reason


class PackRefused(ForwardingError):
    """The centre will not take this pack however often it is sent, or it cannot be read here."""

    title, slug = "Pack refused", "pack-refused"

    def __init__(self, detail: str, *, reason: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(
            detail, action="The pack and the reason lie in quarantine/; support decides, nothing is deleted."
        )
        self.reason = reason
        self.problem = problem or {}
