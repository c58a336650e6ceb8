"""OCI archives: deterministic, content-addressed, and what the specification asks for."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from toolchain import oci


def archive(folder: Path, files: list[oci.File], name: str = "a") -> tuple[Path, str]:
    """An image of one layer; its path and digest."""
    layer, target = folder / f"{name}.layer", folder / f"{name}.tar"
    oci.write_layer(files, layer)
    digest = oci.write_archive(
        "pacs.local/x:1", [layer], oci.ImageConfig(entrypoint=("/x",), user="7:7"), target
    )
    return target, digest


def blob(tar: tarfile.TarFile, digest: str) -> bytes:
    member = tar.extractfile("blobs/" + digest.replace(":", "/"))
    assert member is not None
    return member.read()


def test_every_blob_is_named_by_its_own_digest(tmp_path: Path) -> None:
    path, digest = archive(tmp_path, [oci.File("/bin/x", content=b"program", mode=0o755)])
    with tarfile.open(path) as tar:
        blobs = [name for name in tar.getnames() if name.startswith("blobs/")]
        for name in blobs:
            member = tar.extractfile(name)
            assert member is not None
            assert name.endswith(hashlib.sha256(member.read()).hexdigest())
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
        assert index["manifests"][0]["digest"] == digest
        manifest = json.loads(blob(tar, digest))
        config = json.loads(blob(tar, manifest["config"]["digest"]))
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        assert config["config"]["User"] == "7:7"


def test_the_archive_carries_the_name_that_containerd_gives_the_image(tmp_path: Path) -> None:
    path, _ = archive(tmp_path, [])
    with tarfile.open(path) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "pacs.local/x:1"


def test_the_same_files_in_any_order_give_the_same_digest(tmp_path: Path) -> None:
    files = [
        oci.File("/a", content=b"1"),
        oci.File("/b", link="/a"),
        oci.File("/c", directory=True, mode=0o1777),
    ]
    assert archive(tmp_path, files, "a")[1] == archive(tmp_path, files[::-1], "b")[1]


@pytest.mark.parametrize(
    "other",
    [
        oci.File("/a", content=b"2"),
        oci.File("/a", content=b"1", mode=0o600),
        oci.File("/a", content=b"1", uid=5),
        oci.File("/b", content=b"1"),
        oci.File("/a", link="/b"),
    ],
)
def test_any_change_of_a_file_changes_the_digest(tmp_path: Path, other: oci.File) -> None:
    assert archive(tmp_path, [oci.File("/a", content=b"1")], "a")[1] != archive(tmp_path, [other], "b")[1]
