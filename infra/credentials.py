"""The region's certificates and keys, as the components take them: PEM text, private halves marked.

Everything comes from files under the state directory (`infra.pki`), made on the first run and the same ever
after, so that a second run changes nothing.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infra import naming
from infra.config.region import RegionConfig
from infra.pki import certificates, enrolment, tokens
from infra.pki.certificates import KeyPair
from infra.pki.private_files import read_passphrase, write_private
from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca, revocation_list
from infra.pki.second_copy import SecondCopyAccess, read_second_copy
from infra.pki.wrapping_keys import ensure_wrapping_keys
from infra.supplies import Supplies
from services.archive.encryption.wrapping_keys import WrappingKeys


@dataclass(frozen=True)
class ServerIdentity:
    """A server's certificate chain and its private key, both PEM."""

    chain: str
    key: str


@dataclass(frozen=True)
class Credentials:
    """What the data centre's pods and the branches' plays are given. Fields named `key` are secrets."""

    root: str
    root_fingerprint: str
    revocation_list: str
    gateway: ServerIdentity
    archive: ServerIdentity
    object_store: ServerIdentity
    database: ServerIdentity
    monitoring: ServerIdentity
    """Of Prometheus and Alertmanager, under both their names."""
    receipts: ServerIdentity
    enrolment: ServerIdentity
    enrolment_configuration: str
    token_keys: str
    gateway_key: str
    """What the gateway shows the archive, so that nobody else in the cluster can speak for a hospital."""
    wrapping_keys: WrappingKeys
    """They open the data keys of everything in the bucket; for the archive alone."""
    second_copy: SecondCopyAccess | None
    """Of the other site's bucket, where the region has one; for the archive alone."""


def ensure_credentials(region: RegionConfig, supplies: Supplies, now: datetime) -> Credentials:
    """Open the region's authorities and issue what is missing or about to expire. Raises PkiError, SuppliesError."""
    directory = supplies.secrets_dir / "pki"
    passphrase = read_passphrase(_ensure_passphrase(supplies.secrets_dir))
    names = RegionNames(region.region.name, region.region.domain)
    authorities = ensure_region_ca(directory, passphrase, names, now)

    def server(*dns_names: str) -> ServerIdentity:
        return _identity(
            certificates.ensure_server_certificate(authorities, directory, passphrase, dns_names, now)
        )

    store, database = naming.object_store_host(), naming.database_host()
    return Credentials(
        root=authorities.root.pem.decode(),
        root_fingerprint=authorities.root_fingerprint,
        revocation_list=_revocation_list(authorities, region.gateway.revoked_certificates, directory, now),
        gateway=server(region.gateway_name),
        archive=server(naming.archive_host()),
        object_store=server(store, f"{store}.cluster.local"),
        database=server(database, *_database_names()),
        monitoring=server(
            naming.prometheus_host(),
            naming.alertmanager_host(),
        ),
        receipts=_identity(certificates.ensure_receipt_key(authorities, directory, passphrase, now)),
        enrolment=ServerIdentity(
            authorities.sites.pem.decode(), KeyPair(authorities.sites.key, ()).key_pem.decode()
        ),
        enrolment_configuration=enrolment.step_ca_configuration(
            enrolment.StepCaSettings(names), enrolment.ensure_provisioner_key(directory, passphrase)
        ),
        token_keys=tokens.public_jwks(tokens.ensure_token_key(directory, passphrase)),
        gateway_key=_ensure_text(directory / "gateway.key"),
        wrapping_keys=ensure_wrapping_keys(directory, passphrase, region.region.name, now),
        second_copy=_second_copy(region, supplies),
    )


def _second_copy(region: RegionConfig, supplies: Supplies) -> SecondCopyAccess | None:
    config = region.object_store.second_copy
    return read_second_copy(config, supplies.secrets_dir) if config is not None else None


def _identity(pair: KeyPair) -> ServerIdentity:
    return ServerIdentity(pair.chain_pem.decode(), pair.key_pem.decode())


def _database_names() -> list[str]:
    """Every name that CloudNativePG's services have; replicas verify the primary by the short ones."""
    cluster, namespace = naming.DATABASE_CLUSTER, naming.PACS
    names = [
        f"{cluster}-{kind}{suffix}"
        for kind in ("rw", "r", "ro")
        for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
    ]
    return [name for name in names if name != naming.database_host()]


def _ensure_passphrase(secrets_dir: Path) -> Path:
    """The passphrase that encrypts the keys, made once. `./pacs up` makes it too; whoever comes first."""
    path = secrets_dir / "passphrase"
    _ensure_text(path)
    return path


def _ensure_text(path: Path) -> str:
    """A random text of 43 characters, made once and kept in a file of mode 0600."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode() + b"\n")
    return path.read_text(encoding="utf-8").strip()


def _revocation_list(
    authorities: RegionAuthorities, revoked: list[int], directory: Path, now: datetime
) -> str:
    """The last run's list while it names the same serials and root: a new one would roll the gateway."""
    path, note = directory / "revoked.crl", directory / "revoked.json"
    wanted = json.dumps({"root": authorities.root_fingerprint, "serials": sorted(set(revoked))})
    if path.exists() and note.exists() and note.read_text(encoding="utf-8") == wanted:
        return path.read_text(encoding="utf-8")
    write_private(path, revocation_list(authorities, revoked, now))
    write_private(note, wanted.encode())
    return path.read_text(encoding="utf-8")
