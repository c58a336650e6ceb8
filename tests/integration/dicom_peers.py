"""Foreign DICOM programs that tests run against the archive: DCMTK's, GDCM's, Orthanc."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = "/usr/bin:/usr/sbin"
"""Where Debian has them. A Python environment with pynetdicom has programs of the same names, which are no strangers."""


def run(program: str, *arguments: object, expect: int | None = 0, seconds: float = 120) -> str:
    """What a program printed on both streams; the test is skipped where it is not installed.

    `expect` None takes any exit status.
    """
    found = shutil.which(program, path=PROGRAMS)
    if found is None:
        pytest.skip(f"needs {program}: apt-get install dcmtk libgdcm-tools orthanc")
    done = subprocess.run(
        [found, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False
    )  # fmt: skip
    text = done.stdout.decode("utf-8", "replace")
    assert expect is None or done.returncode == expect, text
    return text


def keys(**attributes: str) -> list[str]:
    """`-k` options of DCMTK's programs, from keywords."""
    return [part for name, value in attributes.items() for part in ("-k", f"{name}={value}")]


def responses(directory: Path) -> list[Path]:
    """What `findscu -X -od` wrote, in order."""
    return sorted(directory.glob("rsp*.dcm"))
