"""What an archive stands on, made from its settings: store, index, sink, and the keys that sign receipts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.archive.adapters.filesystem_store import FilesystemStore
from services.archive.adapters.postgres_commitments import PostgresCommitments
from services.archive.adapters.postgres_copies import PostgresCopyQueue
from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.adapters.postgres_keys import PostgresKeyRegister
from services.archive.adapters.postgres_steps import PostgresSteps
from services.archive.adapters.postgres_worklist import PostgresWorklist
from services.archive.adapters.timed_store import TimedStore
from services.archive.commit import ArchiveSink, ReceiptIssuer
from services.archive.dimse.destination import client_context
from services.archive.encryption.customer_keys import CustomerKeys
from services.archive.encryption.key_ring import KeyRing
from services.archive.encryption.wrapping_keys import FileKeyProvider
from services.archive.metrics import ArchiveMetrics
from services.archive.outbox import Outbox
from services.archive.ports import Index, ObjectStore
from services.archive.reading.signing import ObjectSigner, S3Signer
from services.archive.rendering.pool import RenderingPool
from services.archive.rendering.service import Rendering
from services.archive.second_copy.copier import Copier
from services.archive.second_copy.keeper import SecondCopyKeeper
from services.archive.settings import ArchiveSettings, StoreKind
from services.archive.workflow.ports import Workflow
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
    workflow: Workflow
    keys: CustomerKeys | None = None
    """Opens what the store encrypted, for whoever reads it without the store; None: nothing is encrypted."""
    signer: ObjectSigner | None = None
    """Signs GETs for the gateway; None where no other process reads the store."""


def parts_of(settings: ArchiveSettings) -> Parts:
    """The real adapters that the settings name."""
    metrics, clock = ArchiveMetrics(), SystemClock()
    index = PostgresIndex(settings.dsn, connections=settings.database_connections)
    workflow = Workflow(
        PostgresWorklist(index.connections),
        PostgresSteps(index.connections),
        PostgresCommitments(index.connections),
    )
    if settings.store is StoreKind.FILESYSTEM:
        store: ObjectStore = FilesystemStore(settings.store_directory)
        return Parts(TimedStore(store, metrics.store_seconds), index, metrics, clock, workflow)
    bucket, keys = bucket_of(settings), keys_of(settings, clock)
    store = bucket.encrypted(keys) if keys is not None else bucket
    signer = _signer(settings, keys, clock)
    return Parts(TimedStore(store, metrics.store_seconds), index, metrics, clock, workflow, keys, signer)


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


def second_bucket_of(settings: ArchiveSettings) -> RgwStore | None:
    """The bucket of the second copy as it is, sealed objects and all; None where there is none."""
    if not settings.second_copy_endpoint:
        return None
    from services.archive.adapters.rgw_store import RgwStore  # noqa: PLC0415 - see `bucket_of`

    assert settings.second_copy_access_key_file and settings.second_copy_secret_key_file  # noqa: S101
    return RgwStore.connect(
        settings.second_copy_endpoint,
        settings.second_copy_bucket,
        access_key=read_secret(settings.second_copy_access_key_file),
        secret_key=read_secret(settings.second_copy_secret_key_file),
        ca_file=settings.second_copy_ca_file,
    )


def second_copy_of(settings: ArchiveSettings, parts: Parts) -> SecondCopyKeeper | None:
    """What keeps the second copy up to date; None where there is none."""
    target = second_bucket_of(settings)
    if target is None or parts.keys is None:
        return None
    copier = Copier(parts.store, target, parts.keys.ring, settings.region)
    return SecondCopyKeeper(copier, PostgresCopyQueue(settings.dsn), parts.metrics, parts.clock)


def _signer(settings: ArchiveSettings, keys: CustomerKeys | None, clock: Clock) -> ObjectSigner:
    assert settings.store_access_key_file and settings.store_secret_key_file  # noqa: S101 - checked by the settings
    return S3Signer(
        settings.store_endpoint,
        settings.store_bucket,
        access_key=read_secret(settings.store_access_key_file),
        secret_key=read_secret(settings.store_secret_key_file),
        clock=clock,
        keys=keys,
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


def destination_tls(settings: ArchiveSettings) -> ssl.SSLContext | None:
    """How destinations are spoken to over TLS; None where no CA is named for them."""
    if settings.dimse_ca_file is None:
        return None
    return client_context(settings.dimse_ca_file, settings.tls_certificate_file, settings.tls_key_file)
