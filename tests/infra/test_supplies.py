from __future__ import annotations

from pathlib import Path

import pytest

from infra import pushed_images, supplies
from infra.config.region import load_region
from infra.supplies import SuppliesError, from_toolchain, image_references, needed_images

BUILT = {"ceph": "pacs.local/ceph:abc", "services": "pacs.local/services:def"}


def test_images_from_files_keep_their_own_names_and_rook_is_the_ceph_image() -> None:
    references = image_references(load_region("local"), BUILT, {})
    assert references == BUILT | {"rook": "pacs.local/ceph:abc"}


def test_a_registry_serves_images_by_content_and_a_pinned_name_wins() -> None:
    references = image_references(load_region("yanan"), BUILT, {})
    assert references["services"] == "registry.yanan-pacs.example/pacs/services:def"
    assert references["rook"] == "registry.yanan-pacs.example/pacs/ceph:abc"
    assert references["ceph"] == "quay.io/ceph/ceph:v20.2.4"


def test_an_image_that_was_pushed_is_named_by_its_digest() -> None:
    digests = {"registry.yanan-pacs.example/pacs/services:def": "sha256:" + "1" * 64}
    references = image_references(load_region("yanan"), BUILT, digests)
    assert references["services"] == f"registry.yanan-pacs.example/pacs/services:def@sha256:{'1' * 64}"


def test_what_kubeadm_needs_is_needed_and_a_vendors_image_is_not_made() -> None:
    assert {"kube-apiserver", "etcd", "pause", "coredns"} <= set(needed_images(load_region("yanan")))
    local = load_region("local")
    assert "flannel" not in needed_images(local)
    several = local.model_copy(update={"network": local.network.model_copy(update={"cni": "flannel"})})
    assert "flannel" in needed_images(several)
    yanan = load_region("yanan")
    assert "ceph" in needed_images(yanan)  # Rook runs it
    pinned = {"ceph": "quay.io/ceph/ceph:v20.2.4", "rook": "docker.io/rook/ceph:v1.20.0"}
    images = yanan.images.model_copy(update={"pinned": pinned})
    assert "ceph" not in needed_images(yanan.model_copy(update={"images": images}))


def test_images_that_were_not_pushed_stop_the_program_before_anything_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(supplies, "network_manifest", lambda _region: None)
    with pytest.raises(SuppliesError, match=r"were not pushed.*images push --stack yanan"):
        from_toolchain(load_region("yanan"), "yanan")


def test_a_pod_network_that_nobody_rendered_is_told_with_what_to_do() -> None:
    with pytest.raises(SuppliesError, match=r"yanan-cilium\.yaml.*enforces no NetworkPolicy"):
        supplies.network_manifest(load_region("yanan"))


def test_the_record_of_pushed_images_is_replaced_as_a_whole(tmp_path: Path) -> None:
    assert pushed_images.read(tmp_path) == {}
    pushed_images.write(tmp_path, {"a:1": "sha256:1"})
    pushed_images.write(tmp_path, {"b:1": "sha256:2"})
    assert pushed_images.read(tmp_path) == {"b:1": "sha256:2"}
    assert [path.name for path in tmp_path.iterdir()] == ["images.json"]
