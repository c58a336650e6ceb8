"""Directory entries survive a power cut only once their directory is synced (fsync(2))."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make names that were created, renamed or removed in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
