"""Container images as plain OCI archives, written without a container engine.

An archive is a tar of an OCI image layout (image-spec v1.1): `oci-layout`, `index.json` and
content-addressed blobs. Layers stay uncompressed: they travel over a disk, not a network, and
`ctr images import` then unpacks at disk speed. The same inputs give the same bytes, so an
image's digest says whether a node already has it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_EPOCH = 1_700_000_000  # one fixed time in every layer: a rebuild gives the same digest


@dataclass(frozen=True)
class File:
    """One file of a layer: where it goes, and the bytes or the path it comes from.

    `link` makes a symbolic link instead. `uid` owns it (gid is the same).
    """

    target: str
    source: Path | None = None
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    link: str | None = None
    directory: bool = False


@dataclass(frozen=True)
class ImageConfig:
    """What runs in the image (image-spec `config`). `user` is `uid:gid`; empty is root."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)


def write_layer(files: Iterable[File], target: Path) -> None:
    """Write `files` as one deterministic tar layer at `target`."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for file in sorted(files, key=lambda f: f.target):
            entry = tarfile.TarInfo(file.target.lstrip("/"))
            entry.mtime, entry.uid, entry.gid, entry.mode = _EPOCH, file.uid, file.uid, file.mode
            if file.directory:
                entry.type, entry.mode = tarfile.DIRTYPE, file.mode
                layer.addfile(entry)
            elif file.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                layer.addfile(entry)
            elif file.source is not None:
                entry.size = file.source.stat().st_size
                with file.source.open("rb") as stream:
                    layer.addfile(entry, stream)
            else:
                entry.size = len(file.content)
                layer.addfile(entry, io.BytesIO(file.content))


def write_archive(reference: str, layers: Iterable[Path], config: ImageConfig, target: Path) -> str:
    """Write the OCI archive of `layers` (lowest first) named `reference`; return its manifest digest."""
    paths = list(layers)
    digests = [_digest(path) for path in paths]
    document: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"{key}={value}" for key, value in _environment(config).items()],
            "WorkingDir": config.working_dir,
            **({"Entrypoint": list(config.entrypoint)} if config.entrypoint else {}),
            **({"Cmd": list(config.command)} if config.command else {}),
            **({"User": config.user} if config.user else {}),
            **({"Labels": dict(config.labels)} if config.labels else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created_by": "pacs toolchain"} for _ in digests],
    }
    config_bytes = _json(document)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config_bytes),
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": digest,
                    "size": path.stat().st_size,
                }
                for path, digest in zip(paths, digests, strict=True)
            ],
        }
    )
    descriptor = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {
                    **descriptor,
                    "platform": {"architecture": "amd64", "os": "linux"},
                    # containerd names the image by the first, other tools by the second.
                    "annotations": {
                        "io.containerd.image.name": reference,
                        "org.opencontainers.image.ref.name": reference,
                    },
                }
            ],
        }
    )
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", index)
        _add(archive, _blob(descriptor["digest"]), manifest)
        _add(archive, _blob(_sha256(config_bytes)), config_bytes)
        for path, digest in zip(paths, digests, strict=True):
            entry = tarfile.TarInfo(_blob(digest))
            entry.size, entry.mtime, entry.mode = path.stat().st_size, _EPOCH, 0o644
            with path.open("rb") as stream:
                archive.addfile(entry, stream)
    return str(descriptor["digest"])


def _environment(config: ImageConfig) -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", **config.environment}


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _sha256(content), "size": len(content)}


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), _EPOCH, 0o644
    archive.addfile(entry, io.BytesIO(content))
