"""A region's authorities for one run: what the gateway and the archive show each other, and tokens to read with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.pki.certificates import KeyPair, ensure_receipt_key, ensure_server_certificate
from infra.pki.private_files import ensure_secret, write_private
from infra.pki.region_ca import RegionNames, ensure_region_ca, revocation_list
from infra.pki.tokens import EVERY, MAX_LIFETIME, Scope, ensure_token_key, issue_token, public_jwks

NAMES = RegionNames("local", "pacs.local.test")
ARCHIVE_NAME = "archive.pacs.svc"
_PASSPHRASE = b"only for this run"


@dataclass(frozen=True)
class ServerFiles:
    """Where a certificate chain and its key lie."""

    certificate: Path
    key: Path


class Region:
    """Keys and certificates below `directory`; they end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._secrets = directory / "secrets"
        self._authorities = ensure_region_ca(self._secrets, _PASSPHRASE, NAMES, datetime.now(UTC))
        self._token_key = ensure_token_key(self._secrets, _PASSPHRASE)
        self.root = self._secrets / "root.crt"
        self.gateway_key = directory / "gateway.key"
        ensure_secret(self.gateway_key)
        self.revoked = directory / "sites.crl"
        self.revoked.write_bytes(revocation_list(self._authorities, [], datetime.now(UTC)))

    def server(self, name: str) -> ServerFiles:
        """What the server `name` shows."""
        pair = ensure_server_certificate(
            self._authorities, self._secrets, _PASSPHRASE, [name], datetime.now(UTC)
        )
        return self._write(name, pair)

    def receipts(self) -> ServerFiles:
        """By what the archive signs receipts."""
        pair = ensure_receipt_key(self._authorities, self._secrets, _PASSPHRASE, datetime.now(UTC))
        return self._write("receipts", pair)

    def _write(self, name: str, pair: KeyPair) -> ServerFiles:
        files = ServerFiles(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        write_private(files.certificate, pair.chain_pem)
        write_private(files.key, pair.key_pem)
        return files

    @property
    def jwks(self) -> str:
        """By what the archive judges tokens."""
        return public_jwks(self._token_key)

    def token(self) -> str:
        """The right to read and store everywhere, for as long as a token may live."""
        return issue_token(
            self._token_key,
            issuer=f"https://{NAMES.gateway_name}",
            audience=f"region:{NAMES.region}",
            subject="bench",
            institutions=[EVERY],
            scopes=[Scope.READ, Scope.STORE],
            now=datetime.now(UTC),
            lifetime=MAX_LIFETIME,
        )
