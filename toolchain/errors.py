"""The errors of obtaining what the platform runs. Each says what happened, why, and what to do.

ToolchainError
├── VersionsError         versions.yaml or debian.txt does not say what it must
├── DownloadError
│   ├── UnreachableError  no connection, or the server has no such file: the next source is tried
│   └── ChecksumError     bytes are not what the vendor vouches for: never used, never skipped over
├── BuildError            a build from Go modules failed
├── RegistryError         a container registry did not take an image
├── GoError               no usable Go, and none could be obtained
└── PackageError          Debian's package manager failed
"""

from __future__ import annotations


class ToolchainError(Exception):
    """`what` happened, `why`, and the `action` that helps; `exit_code` per contracts section 13."""

    exit_code = 4

    def __init__(self, what: str, why: str, action: str) -> None:
        super().__init__(f"{what}: {why}. {action}")
        self.what, self.why, self.action = what, why, action


class VersionsError(ToolchainError):
    """versions.yaml is not of its shape."""

    exit_code = 2


class DownloadError(ToolchainError):
    """A download did not end with verified bytes."""


class UnreachableError(DownloadError):
    """The server cannot be reached, or does not have the file."""


class ChecksumError(DownloadError):
    """The bytes differ from the vendor's checksum, also after a second, fresh download."""


class BuildError(ToolchainError):
    """`go build` failed."""


class RegistryError(ToolchainError):
    """The registry cannot be reached, is not trusted, refuses us, or did not keep what it was sent."""


class GoError(ToolchainError):
    """This machine has no Go that can build the tools, and none could be fetched."""

    exit_code = 3


class PackageError(ToolchainError):
    """apt-get failed."""
