"""The image catalogue: names that kubeadm expects, tags that say the content."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from toolchain import images, oci, rootfs
from toolchain.versions import versions


def test_kubeadm_finds_its_images_under_the_names_it_asks_for() -> None:
    kubernetes = versions().tools["kubernetes"].version
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        assert images.reference(name) == f"registry.k8s.io/{name}:v{kubernetes}"
    assert (
        images.reference("coredns")
        == f"registry.k8s.io/coredns/coredns:v{versions().tools['coredns'].version}"
    )


def test_a_changed_recipe_is_another_image() -> None:
    image = images.catalogue()["prometheus"]
    assert image.key() == images.catalogue()["prometheus"].key()
    for change in (
        {"config": oci.ImageConfig(user="1:1")},
        {"base": rootfs.NGINX},
        {"files": (oci.File("/x", content=b"1"),)},
        {"programs": (("pause", "/pause"),)},
    ):
        assert dataclasses.replace(image, **change).key() != image.key()  # type: ignore[arg-type]


def test_a_changed_service_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    image = images.catalogue()["services"]
    before = image.key()
    monkeypatch.setattr(images, "_service_files", lambda: (("services/a.py", None, "digest"),))
    assert image.key() != before


def test_no_image_of_ours_begins_as_root_but_these() -> None:
    ours = {name: image for name, image in images.catalogue().items() if not image.repository}
    roots = {name for name, image in ours.items() if not image.config.user}
    assert roots == {"ceph", "flannel", "local-path-provisioner", "step-ca"}


def test_what_absent_images_stand_on_is_named_once_and_nothing_for_those_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACS_CACHE_DIR", str(tmp_path))
    names = ["kube-proxy", "flannel", "ceph", "coredns"]
    assert images.root_filesystems(names) == [rootfs.NFTABLES, rootfs.CEPH]
    there = images._directory(images.catalogue()["ceph"])
    there.mkdir(parents=True)
    (there / "manifest.json").write_text('{"digest": "sha256:0"}', encoding="utf-8")
    assert images.root_filesystems(names) == [rootfs.NFTABLES]


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(KeyError):
        images.reference("nothing")


def test_root_filesystems_have_the_accounts_that_operators_expect() -> None:
    assert {account.name: account.uid for account in rootfs.CEPH.accounts} == {"ceph": 167, "rook": 2016}
    assert {account.name: account.uid for account in rootfs.POSTGRESQL.accounts} == {"postgres": 26}


def test_a_root_filesystem_is_known_by_its_recipe() -> None:
    assert dataclasses.replace(rootfs.HOST, packages=("less",)).key != rootfs.HOST.key
    assert dataclasses.replace(rootfs.HOST).key == rootfs.HOST.key
