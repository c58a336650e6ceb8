"""Where things lie on the operator's machine (contracts section 14)."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def cache_directory() -> Path:
    """What can be obtained again and every checkout shares: `PACS_CACHE_DIR`, else /var/cache/pacs."""
    return Path(os.environ.get("PACS_CACHE_DIR") or "/var/cache/pacs").absolute()


def state_directory(stack: str) -> Path:
    """What belongs to one stack alone, secrets included: below `PACS_STATE_DIR`, else below /var/lib/pacs."""
    return Path(os.environ.get("PACS_STATE_DIR") or "/var/lib/pacs").absolute() / stack
