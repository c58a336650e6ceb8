"""What an archive stands on, made from its settings: store, index, sink, and the keys that sign receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.adapters.postgres_keys import PostgresKeyRegister
from services.archive.adapters.timed_store import TimedStore
from services.archive.commit import ArchiveSink, ReceiptIssuer
from services.archive.encryption.customer_keys import CustomerKeys
from services.archive.encryption.key_ring import KeyRing
from services.archive.encryption.wrapping_keys import FileKeyProvider
from services.archive.metrics import ArchiveMetrics
from services.archive.outbox import Outbox
from services.archive.ports import Index, ObjectStore
from services.archive.rendering.pool import RenderingPool
from services.archive.rendering.service import Rendering
from services.archive.settings import ArchiveSettings, StoreKind
from services.common.clock import Clock, SystemClock
from services.common.settings import read_secret
from services.packs.receipts import ReceiptSigner

if TYPE_CHECKING:
    from services.archive.adapters.rgw_store import RgwStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What the archive stands on; tests put memory adapters here."""

    store: ObjectStore
    index: Index
    metrics: ArchiveMetrics
    clock: Clock
    keys: CustomerKeys | None = None
    """Opens what the store encrypted, for whoever reads it without the store; None: nothing is encrypted."""


def parts_of(settings: ArchiveSettings) -> Parts:
    """The real adapters that the settings name."""
    metrics, clock = ArchiveMetrics(), SystemClock()
    index = PostgresIndex(settings.dsn, connections=settings.database_connections)
    if settings.store is StoreKind.FILESYSTEM:
        store: ObjectStore = FilesystemStore(settings.store_directory)
        return Parts(TimedStore(store, metrics.store_seconds), index, metrics, clock)
    bucket, keys = bucket_of(settings), keys_of(settings, clock)
    store = bucket.encrypted(keys) if keys is not None else bucket
    return Parts(TimedStore(store, metrics.store_seconds), index, metrics, clock, keys)


def sink_of(settings: ArchiveSettings, parts: Parts) -> ArchiveSink:
    """How packs are committed here: with receipts at the centre, with an outbox at a branch."""
    issuer, outbox = _issuer(settings, parts.clock), outbox_of(settings)
    return ArchiveSink(parts.store, parts.index, parts.metrics, issuer=issuer, outbox=outbox)


def keys_of(settings: ArchiveSettings, clock: Clock) -> CustomerKeys | None:
    """The keys of the objects in the bucket; None where nothing is encrypted."""
    if settings.wrapping_keys_file is None:
        return None
    provider = FileKeyProvider(settings.wrapping_keys_file, settings.region)
    register = PostgresKeyRegister(settings.dsn)
    return CustomerKeys(KeyRing(settings.region, provider, bucket_of(settings), clock, register))


def bucket_of(settings: ArchiveSettings) -> RgwStore:
    """The centre's bucket as it is, without keys."""
    from services.archive.adapters.rgw_store import RgwStore  # noqa: PLC0415 - boto3 costs 40 MB a branch never needs

    assert settings.store_access_key_file and settings.store_secret_key_file and settings.store_ca_file  # noqa: S101
    return RgwStore.connect(
        settings.store_endpoint,
        settings.store_bucket,
        access_key=read_secret(settings.store_access_key_file),
        secret_key=read_secret(settings.store_secret_key_file),
        ca_file=settings.store_ca_file,
    )


def _issuer(settings: ArchiveSettings, clock: Clock) -> ReceiptIssuer | None:
    if settings.receipt_key_file is None or settings.receipt_certificate_file is None:
        return None
    key = load_pem_private_key(settings.receipt_key_file.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong call
            f"{settings.receipt_key_file} holds no Ed25519 key: receipts are signed with one (contracts, section 8)"
        )
    certificate = x509.load_pem_x509_certificates(settings.receipt_certificate_file.read_bytes())[0]
    if certificate.public_key() != key.public_key():
        raise ValueError(
            f"{settings.receipt_certificate_file} is not the certificate of {settings.receipt_key_file}"
        )
    return ReceiptIssuer(ReceiptSigner(key), settings.epoch, clock)


def rendering_of(settings: ArchiveSettings, parts: Parts) -> Rendering:
    """The work on pixels, in processes of its own; none is started before the first image."""
    pool = RenderingPool(
        parts.metrics,
        workers=settings.rendering_workers,
        memory_bytes=settings.rendering_memory_bytes,
        seconds=settings.rendering_seconds,
    )
    return Rendering(parts.store, pool)


def outbox_of(settings: ArchiveSettings) -> Outbox | None:
    """A branch's outbox; None at the centre."""
    if settings.outbox_directory is None or settings.receipts_directory is None:
        return None
    return Outbox(
        settings.outbox_directory,
        settings.store_directory,
        settings.receipts_directory,
        settings.quarantine_directory,
    )
