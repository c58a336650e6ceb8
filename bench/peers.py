"""Where the peers and the clients come from: Debian packages in a root of their own, beside the machine's.

The product's own Ceph lies there too, in the root that its image is made of.

The machine's own packages stay as they are. The newest Orthanc of any suite is sid's; sid keeps no old
versions, so where the pinned one is gone the stable suite's is taken, and the result names what ran.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import rootfs
from toolchain.errors import ToolchainError
from toolchain.paths import cache_directory
from toolchain.progress import Progress

_CLIENTS = ("nghttp2-client", "wrk")
NEWEST = rootfs.RootFilesystem(
    name="peers",
    suite="sid",
    packages=(
        "orthanc=1.13.0+dfsg-1+b1", "orthanc-dicomweb=1.24+dfsg-1+b1", "orthanc-postgresql=5.0+dfsg-7+b2",
        "dcmtk=3.7.0+really3.7.0-7", *_CLIENTS,
    ),
    stale_archive=True,
)  # fmt: skip
STABLE = rootfs.RootFilesystem(
    name="peers",
    suite="trixie",
    packages=("orthanc", "orthanc-dicomweb", "orthanc-postgresql", "dcmtk", *_CLIENTS),
)
_REPORTED = ("orthanc", "orthanc-dicomweb", "orthanc-postgresql", "dcmtk", "wrk", "nghttp2-client")


@dataclass(frozen=True)
class Peers:
    """An unpacked root. Its programs run in this machine's file system, with the root's own loader and libraries."""

    root: Path
    suite: str
    ceph: Path = Path()
    """The unpacked root of the product's Ceph image."""

    def command(self, program: str, *arguments: str) -> list[str]:
        """How to start `program` of the root. Raises ToolchainError where the root has none of that name."""
        for folder in ("usr/bin", "usr/sbin"):
            path = self.root / folder / program
            if path.exists():
                loader = str(self.root / "lib64/ld-linux-x86-64.so.2")
                libraries = self.root / "usr/lib/x86_64-linux-gnu"
                paths = [
                    libraries,
                    self.root / "usr/lib",
                    *sorted({found.parent for found in libraries.glob("*/*.so*")}),
                ]
                return [loader, "--library-path", ":".join(map(str, paths)), str(path), *arguments]
        raise ToolchainError(
            f"the peers have no program {program}",
            f"{self.root} was made from Debian {self.suite}",
            f"Remove {self.root} and run again.",
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What DCMTK's and Orthanc's programs need beside the machine's variables."""
        dictionaries = [
            *self.root.glob("usr/share/libdcmtk*/dicom.dic"),
            *self.root.glob("usr/share/dcmtk*/dicom.dic"),
        ]
        return {
            "DCMDICTPATH": ":".join(str(path) for path in dictionaries[:1]),
            "TCP_NODELAY": "1",
            "LC_ALL": "C.UTF-8",
        }

    def plugin(self, name: str) -> Path:
        """Orthanc's plugin `name`. Raises ToolchainError where it is not there."""
        for path in sorted(self.root.glob(f"usr/**/lib{name}.so*")):
            return path
        raise ToolchainError(
            f"Orthanc's plugin {name} is missing",
            f"nothing like it below {self.root}",
            f"Remove {self.root}, run again.",
        )

    def versions(self) -> dict[str, str]:
        """Package -> version, from the root's own package database."""
        answer = subprocess.run(
            ["dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version}\\n", *_REPORTED],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return dict(line.split(" ", 1) for line in answer.stdout.splitlines())


def obtain(progress: Progress, recipes: Sequence[rootfs.RootFilesystem] = (NEWEST, STABLE)) -> Peers:
    """The root of the first recipe that can be had, unpacked in the cache. Raises ToolchainError for the last one."""
    ceph = _unpacked(rootfs.CEPH, progress)
    for recipe in recipes[:-1]:
        try:
            return Peers(_unpacked(recipe, progress), recipe.suite, ceph)
        except ToolchainError as error:
            progress.done(f"peers of {recipe.suite}", f"cannot be had ({error.why}); the next suite is tried")
    return Peers(_unpacked(recipes[-1], progress), recipes[-1].suite, ceph)


def _unpacked(recipe: rootfs.RootFilesystem, progress: Progress) -> Path:
    root = cache_directory() / "bench" / f"{recipe.name}-{recipe.key}"
    if not (root / "unpacked.json").exists():
        tar = rootfs.ensure(recipe, progress)
        partial = root.with_suffix(f".{os.getpid()}.part")
        partial.mkdir(parents=True)
        try:
            subprocess.run(
                ["tar", "-C", str(partial), "--exclude=./dev/*", "-xf", str(tar)],
                check=True,
                capture_output=True,
            )
            (partial / "unpacked.json").write_text(json.dumps({"suite": recipe.suite}))
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)
        except subprocess.CalledProcessError as error:
            raise ToolchainError(
                f"{tar} cannot be unpacked",
                error.stderr.decode(errors="replace")[-300:],
                "Remove it and run again.",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return root
