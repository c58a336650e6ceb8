from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from infra.config import types

AE_CHARACTERS = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "\\")


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@given(st.text(AE_CHARACTERS, min_size=1, max_size=16).filter(lambda text: text == text.strip()))
def test_an_ae_title_of_up_to_16_default_characters_is_taken(title: str) -> None:
    assert accepts(types.AETitle, title)


@given(st.text(min_size=0, max_size=20))
def test_an_ae_title_is_taken_only_if_the_standard_allows_it(title: str) -> None:
    allowed = 1 <= len(title) <= 16 and set(title) <= set(AE_CHARACTERS) and title == title.strip(" ")
    assert accepts(types.AETitle, title) is allowed


@pytest.mark.parametrize("title", ["", " CT1", "CT1 ", "A\\B", "A\nB", "延安", "X" * 17])
def test_an_ae_title_that_a_device_could_not_send_is_refused(title: str) -> None:
    assert not accepts(types.AETitle, title)


@pytest.mark.parametrize("cidr", ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/", "::/0", "", "10.0.0/24", "x"])
def test_a_network_with_host_bits_or_of_another_family_is_refused(cidr: str) -> None:
    assert not accepts(types.Cidr, cidr)


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_is_taken_as_it_was_written(address: object) -> None:
    assert TypeAdapter(types.Address).validate_python(str(address)) == str(address)


@pytest.mark.parametrize("name", ["", "Yanan", "-a", "a-", "a_b", "a.b", "延安", "a" * 64])
def test_a_name_that_is_no_dns_label_is_refused(name: str) -> None:
    assert not accepts(types.Label, name)


@pytest.mark.parametrize("name", ["localhost", "pacs..test", "pacs.test.", "PACS.test", "-a.test"])
def test_a_name_that_is_not_fully_qualified_is_refused(name: str) -> None:
    assert not accepts(types.Fqdn, name)


@pytest.mark.parametrize("size", ["0Gi", "1", "1G", "1.5Gi", "-1Gi", "1 Gi", ""])
def test_a_size_in_another_notation_is_refused(size: str) -> None:
    assert not accepts(types.Size, size)


@pytest.mark.parametrize("url", ["http://x", "https://user:secret@x", "https://x?y", "s3://x"])
def test_an_endpoint_without_tls_or_with_credentials_in_it_is_refused(url: str) -> None:
    assert not accepts(types.HttpsUrl, url)


@pytest.mark.parametrize("port", [0, 104, 399, 1000, 11112])
def test_a_node_port_outside_the_clusters_range_is_refused(port: int) -> None:
    assert not accepts(types.NodePort, port)


@pytest.mark.parametrize("image", ["ceph", "quay.io/ceph/ceph", "quay.io/ceph/ceph:latest", "a b@sha256:00"])
def test_an_image_by_a_tag_that_moves_is_refused(image: str) -> None:
    assert not accepts(types.ImageReference, image)


def test_an_image_by_version_or_digest_is_taken() -> None:
    assert accepts(types.ImageReference, "quay.io/ceph/ceph:v20.2.4")
    assert accepts(types.ImageReference, "quay.io:5000/ceph/ceph@sha256:" + string.hexdigits[:16].lower() * 4)
