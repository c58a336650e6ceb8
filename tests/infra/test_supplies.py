from __future__ import annotations

from infra.config.region import load_region
from infra.supplies import image_references

BUILT = {"ceph": "pacs.local/ceph:abc", "services": "pacs.local/services:def"}


def test_images_from_files_keep_their_own_names_and_rook_is_the_ceph_image() -> None:
    references = image_references(load_region("local"), BUILT, {})
    assert references == BUILT | {"rook": "pacs.local/ceph:abc"}


def test_a_registry_serves_images_by_content_and_a_pinned_name_wins() -> None:
    references = image_references(load_region("yanan"), BUILT, {})
    assert references["services"] == "registry.yanan-pacs.example/pacs/services:def"
    assert references["rook"] == "registry.yanan-pacs.example/pacs/ceph:abc"
    assert references["ceph"] == "quay.io/ceph/ceph:v20.2.4"
