"""A real Ceph for integration tests, of Debian's packages.

They are older than what the product runs under Rook (bookworm: 16.2): what is shown with them is the S3 contract of the
adapter, not the product's cluster.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.servers.ceph import PROGRAMS, STORE_NAME, CephProcesses, S3Endpoint, write_certificates

__all__ = ["STORE_NAME", "S3Endpoint", "running_ceph", "write_certificates"]


@contextmanager
def running_ceph() -> Iterator[S3Endpoint]:
    """A cluster for the time of the block; the test is skipped where Ceph is not installed."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(
            f"needs {', '.join(missing)}: apt-get install ceph-mon ceph-mgr ceph-osd ceph-common radosgw"
        )
    # Not below pytest's directory: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ceph-") as directory:
        processes = CephProcesses(Path(directory))
        try:
            yield processes.start()
        finally:
            processes.stop()
