"""Every container image of the platform: what it is made of, its name, and its archive in the cache.

An image's *key* is the hash of its recipe and of every file that goes in, so its tag says its content,
`reference()` needs no build, and a changed line of a service gives a new tag that Kubernetes rolls out.
The images that kubeadm expects keep the names kubeadm gives them.

Where RegionConfig names a registry the same archives are pushed there (`./pacs images push`); where it
names a directory they are imported from the cache by the node's role.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from toolchain import install, manifests, oci, rootfs
from toolchain.errors import ToolchainError
from toolchain.paths import REPOSITORY, cache_directory
from toolchain.progress import Progress, Silent
from toolchain.versions import cache_key, versions

SERVICE_UID = 10001
# The Python of the image's Debian, and the wheels that run with its glibc 2.36: pip takes each by name alone.
PYTHON_TAG = ("3.11", ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64"))


@dataclass(frozen=True)
class Image:
    """One image: a root filesystem (or nothing) below `files`; `programs` are tools of the toolchain."""

    name: str
    config: oci.ImageConfig
    base: rootfs.RootFilesystem | None = None
    programs: tuple[tuple[str, str], ...] = ()  # (program, path in the image)
    files: tuple[oci.File, ...] = ()
    manifests: tuple[tuple[str, str, str], ...] = ()  # (tool, its published file, path in the image)
    repository: str = ""
    tag: str = ""
    version: str = ""  # begins our own tag, where an operator reads a version in it
    python: bool = False  # the services' dependencies and source lie in /opt/pacs
    optional: bool = False  # not every region runs it

    def key(self) -> str:
        """Hash of everything that goes in: 12 hex digits."""
        parts: list[object] = [
            asdict(self.config), self.base and self.base.key,
            [(path, _program_key(program)) for program, path in self.programs],
            [(f.target, f.link, f.mode, f.uid, f.content.hex(), f.directory) for f in self.files],
            self.manifests,
        ]  # fmt: skip
        if self.python:
            parts.append([PYTHON_TAG, [(name, digest) for name, _, digest in _service_files()]])
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def reference(self) -> str:
        """Full name with tag."""
        repository = self.repository or f"pacs.local/{self.name}"
        return f"{repository}:{self.tag or '-'.join(filter(None, (self.version, self.key())))}"


@dataclass(frozen=True)
class Archive:
    """A built image: its name, its manifest digest, and the OCI archive that holds it."""

    reference: str
    digest: str
    path: Path


def reference(name: str) -> str:
    """The reference of image `name`; needs no build. KeyError for an unknown name."""
    return catalogue()[name].reference()


def ensure(names: Iterable[str] | None = None, progress: Progress | None = None) -> dict[str, Archive]:
    """The archives of `names` (all but the optional when None), built where the cache has none.

    Raises ToolchainError.
    """
    images = catalogue()
    usual = [name for name, image in images.items() if not image.optional]
    return {name: _ensure(images[name], progress or Silent()) for name in (names or usual)}


def root_filesystems(names: Iterable[str]) -> list[rootfs.RootFilesystem]:
    """What the images of `names` that the cache lacks stand on, each once: it can be made before their programs."""
    lacking = [catalogue()[name] for name in names if archive(name) is None]
    return list({image.base.key: image.base for image in lacking if image.base is not None}.values())


def archive(name: str) -> Archive | None:
    """The archive of image `name` if the cache has it."""
    image = catalogue()[name]
    manifest = _directory(image) / "manifest.json"
    if not manifest.exists():
        return None
    return Archive(
        image.reference(), json.loads(manifest.read_text())["digest"], _directory(image) / "image.tar"
    )


@cache
def catalogue() -> dict[str, Image]:
    """All images by name."""
    tools = versions().tools
    kubernetes, coredns = tools["kubernetes"].version, f"v{tools['coredns'].version}"
    images = [
        *(_kubernetes(f"kube-{part}", kubernetes) for part in ("apiserver", "controller-manager", "scheduler")),
        _kubernetes("kube-proxy", kubernetes, base=rootfs.NFTABLES),
        _single("etcd", "etcd", "registry.k8s.io/etcd", f"{tools['etcd'].version}-0"),
        _single("coredns", "coredns", "registry.k8s.io/coredns/coredns", coredns, path="/coredns"),
        _single("pause", "pause", "registry.k8s.io/pause", "3.10.2", path="/pause"),
        _single("step-ca", "step-ca"),
        _single("local-path-provisioner", "local-path-provisioner"),
        Image(
            name="flannel",
            version=tools["flannel"].version,
            base=rootfs.NFTABLES,
            programs=(("flanneld", "/usr/local/bin/flanneld"),),
            config=oci.ImageConfig(entrypoint=("/usr/local/bin/flanneld",)),
            optional=True,
        ),
        Image(
            name="cloudnative-pg",
            programs=(("manager", "/operator/manager_amd64"),),
            files=(oci.File("/manager", link="/operator/manager_amd64"), _tmp()),
            config=oci.ImageConfig(entrypoint=("/manager",), user="65532:65532"),
        ),
        Image(
            # One image is both Rook's and Ceph's: Rook's entrypoint, Ceph's programs.
            name="ceph",
            base=rootfs.CEPH,
            programs=(("rook", "/usr/local/bin/rook"),),
            manifests=(
                ("rook", "toolbox.sh", "/usr/local/bin/toolbox.sh"),
                ("rook", "set-ceph-debug-level", "/usr/local/bin/set-ceph-debug-level"),
            ),
            files=(
                # OSD preparation asks `dmsetup version` on a kernel that has no device-mapper.
                oci.File("/usr/local/sbin/dmsetup", content=_DMSETUP, mode=0o755),
            ),
            # No user: daemons begin as root and drop to ceph themselves; the operator's manifest names 2016.
            config=oci.ImageConfig(entrypoint=("/usr/local/bin/rook",)),
        ),
        Image(
            name="postgresql",
            version="17",
            base=rootfs.POSTGRESQL,
            config=oci.ImageConfig(
                user="26:26", environment={"PATH": "/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin"}
            ),
        ),
        Image(
            name="gateway",
            base=rootfs.NGINX,
            config=oci.ImageConfig(entrypoint=("/usr/sbin/nginx",), user=f"{SERVICE_UID}:{SERVICE_UID}"),
        ),
        Image(
            name="prometheus",
            base=rootfs.PROMETHEUS,
            config=oci.ImageConfig(entrypoint=("/usr/bin/prometheus",), user=f"{SERVICE_UID}:{SERVICE_UID}"),
        ),
        Image(
            name="services",
            base=rootfs.PYTHON,
            python=True,
            config=oci.ImageConfig(
                entrypoint=("/usr/bin/python3", "-m"),
                user=f"{SERVICE_UID}:{SERVICE_UID}",
                environment={"PYTHONPATH": "/opt/pacs/lib:/opt/pacs/app", "PYTHONUNBUFFERED": "1"},
            ),
        ),
    ]  # fmt: skip
    return {image.name: image for image in images}


# A stand-in that answers the one question Rook asks; every other use fails, as without device-mapper.
_DMSETUP = b"""#!/bin/sh
if [ "$1" = version ] && ! /usr/sbin/dmsetup version >/dev/null 2>&1; then
  echo "Library version:   1.02.185"; exit 0
fi
exec /usr/sbin/dmsetup "$@"
"""


def _group(program: str) -> str:
    """The tool group that gives `program`."""
    return next(name for name, tool in versions().tools.items() if program in tool.binaries)


def _program_key(program: str) -> str:
    group = _group(program)
    return cache_key(group, versions().tools[group])


def _tmp() -> oci.File:
    return oci.File("/tmp", directory=True, mode=0o1777)  # noqa: S108 - the image's own


def _kubernetes(name: str, version: str, base: rootfs.RootFilesystem | None = None) -> Image:
    return Image(
        name=name, base=base, programs=((name, f"/usr/local/bin/{name}"),),
        files=(_tmp(),) if base is None else (),
        repository=f"registry.k8s.io/{name}", tag=f"v{version}", config=oci.ImageConfig(entrypoint=(name,)),
    )  # fmt: skip


def _single(name: str, program: str, repository: str = "", tag: str = "", path: str = "") -> Image:
    path = path or f"/usr/local/bin/{program}"
    return Image(
        name=name, programs=((program, path),), files=(_tmp(),), repository=repository, tag=tag,
        config=oci.ImageConfig(entrypoint=(path,)),
    )  # fmt: skip


def _directory(image: Image) -> Path:
    return cache_directory() / "images" / image.name / image.key()


def _ensure(image: Image, progress: Progress) -> Archive:
    directory = _directory(image)
    built = archive(image.name)
    if built is not None:
        return built
    item = f"image {image.name}"
    progress.update(item, "writing layers")
    directory.mkdir(parents=True, exist_ok=True)
    layers = [rootfs.ensure(image.base, progress)] if image.base else []
    with tempfile.TemporaryDirectory(dir=directory, prefix="layers.") as scratch:
        tools = install.ensure({_group(program) for program, _ in image.programs})
        files = [oci.File(path, source=tools[program], mode=0o755) for program, path in image.programs]
        files += [
            oci.File(path, source=manifests.path(tool, file), mode=0o755)
            for tool, file, path in image.manifests
        ]
        if files or image.files:
            layers.append(_layer(Path(scratch) / "files.tar", [*files, *image.files]))
        if image.python:
            layers.append(_dependencies_layer(progress))
            layers.append(_layer(Path(scratch) / "app.tar", [
                oci.File(f"/opt/pacs/app/{name}", source=path) for name, path, _ in _service_files()
            ]))  # fmt: skip
        partial = directory / f"image.{os.getpid()}.part"
        try:
            digest = oci.write_archive(image.reference(), layers, image.config, partial)
            partial.rename(directory / "image.tar")
        finally:
            partial.unlink(missing_ok=True)
    partial = directory / f"manifest.{os.getpid()}.part"
    partial.write_text(json.dumps({"reference": image.reference(), "digest": digest}))
    partial.rename(directory / "manifest.json")
    progress.done(item, f"{(directory / 'image.tar').stat().st_size >> 20} MiB")
    return Archive(image.reference(), digest, directory / "image.tar")


def _layer(target: Path, files: list[oci.File]) -> Path:
    oci.write_layer(files, target)
    return target


@cache
def _service_files() -> tuple[tuple[str, Path, str], ...]:
    """(name, path, digest) of the services' source, without tests and caches."""
    found = []
    for path in sorted((REPOSITORY / "services").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(REPOSITORY).as_posix()
            found.append((name, path, hashlib.sha256(path.read_bytes()).hexdigest()))
    return tuple(found)


def _dependencies_layer(progress: Progress) -> Path:
    """The services' Python dependencies as a layer, cached by their lock file."""
    lock = REPOSITORY / "services/requirements.lock"
    version, platforms = PYTHON_TAG
    key = hashlib.sha256(lock.read_bytes() + repr(PYTHON_TAG).encode()).hexdigest()[:16]
    layer = cache_directory() / "images" / "services" / f"dependencies-{key}.tar"
    if layer.exists():
        return layer
    progress.update("image services", "Python packages from the lock file")
    layer.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layer.parent, prefix="pip.") as scratch:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary=:all:", f"--python-version={version}", *(f"--platform={name}" for name in platforms),
             f"--target={scratch}/lib", "--no-compile", "--requirement", str(lock)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ToolchainError(
                "the services' Python packages could not be installed",
                done.stderr.strip()[-400:],
                "Check that PyPI is reachable and run again.",
            )
        shutil.rmtree(Path(scratch) / "lib/bin", ignore_errors=True)
        files = [
            oci.File(f"/opt/pacs/lib/{path.relative_to(Path(scratch) / 'lib').as_posix()}", source=path,
                     mode=0o755 if path.stat().st_mode & 0o100 else 0o644)
            for path in (Path(scratch) / "lib").rglob("*") if path.is_file()
        ]  # fmt: skip
        partial = layer.with_suffix(".part")
        oci.write_layer(files, partial)
        partial.rename(layer)
    return layer
