"""What our listeners accept, and how a certificate that cannot be used is told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.pki.certificates import KeyPair, ensure_server_certificate
from infra.pki.region_ca import RegionNames, ensure_region_ca
from services.common.tls import server_context

PASSPHRASE = b"a passphrase for tests only"


def issue(directory: Path, name: str) -> KeyPair:
    now = datetime.now(UTC)
    authorities = ensure_region_ca(directory, PASSPHRASE, RegionNames("local", "pacs.local.test"), now)
    return ensure_server_certificate(authorities, directory, PASSPHRASE, [name], now)


def test_a_listener_takes_tls_1_2_and_1_3_with_forward_secret_aead_only(tmp_path: Path) -> None:
    pair = issue(tmp_path, "a.test")
    (tmp_path / "tls.crt").write_bytes(pair.chain_pem)
    (tmp_path / "tls.key").write_bytes(pair.key_pem)
    context = server_context(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["name"].startswith(("TLS_", "ECDHE-")), cipher["name"]


@pytest.mark.parametrize("key", [None, b"", "another"])
def test_a_certificate_without_its_key_is_told_with_both_files(
    tmp_path: Path, key: bytes | str | None
) -> None:
    certificate, key_file = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(issue(tmp_path, "a.test").chain_pem)
    if key is not None:
        key_file.write_bytes(key if isinstance(key, bytes) else issue(tmp_path, "b.test").key_pem)
    with pytest.raises(OSError, match="are not a certificate and its key") as told:
        server_context(certificate, key_file)
    assert str(certificate) in str(told.value)
    assert str(key_file) in str(told.value)
