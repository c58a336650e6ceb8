"""A branch's files for tests: small valid packs, receipts, a clock turned by hand, a centre in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from infra.pki.certificates import KeyPair, ensure_receipt_key
from infra.pki.region_ca import RegionAuthorities, RegionNames, ensure_region_ca
from services.common.clock import rfc3339
from services.packs.instance import scan
from services.packs.pack import Footer, PackWriter, verify
from services.packs.receipts import Receipt, ReceiptSigner

NAMES = RegionNames("local", "pacs.local.test")
PASSPHRASE = b"a passphrase for tests only"
CT = "1.2.840.10008.5.1.4.1.1.2"


class HandClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def turn(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


def part_10(study_uid: str, *, size: int = 64, uid: str | None = None) -> bytes:
    """A CT slice as a file, PS3.10, with `size` bytes of pixels, a multiple of 64."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CT, uid or generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = study_uid, study_uid + ".1"
    data.Modality, data.PatientID = "CT", "P1"
    data.Rows, data.Columns, data.SamplesPerPixel, data.BitsAllocated = size // 64, 64, 1, 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 7, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = os.urandom(size)
    data["PixelData"].VR = "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = (
        CT,
        data.SOPInstanceUID,
    )
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def seal(
    root: Path, *, instances: int = 2, size: int = 64, institution: str = "yanan", site: str = "yanchang"
) -> Path:
    """Write a pack under `root` as the archive does, and return its path; the outbox link is the caller's."""
    study_uid = generate_uid()[:50]
    part = root / "new.part"
    with part.open("wb") as file:
        writer = PackWriter(file, region="local", institution=institution, site=site, study_uid=study_uid)
        for _ in range(instances):
            body = part_10(study_uid, size=size)
            moment = rfc3339(datetime.now(UTC))
            writer.add(body, scan(body), received_at=moment, calling_ae="CT1", called_ae="PACS")
        footer = writer.finish(datetime.now(UTC))
    path = root / footer.key
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
    return path


def offer(root: Path, path: Path) -> Path:
    """Link a sealed pack into the outbox."""
    link = root / "outbox" / path.name
    link.parent.mkdir(parents=True, exist_ok=True)
    os.link(path, link)
    return link


class ReceiptOffice:
    """Signs receipts as a centre does; `alter` turns each one into something a branch must reject."""

    def __init__(self, directory: Path, *, epoch: int = 1) -> None:
        now = datetime.now(UTC)
        self.authorities: RegionAuthorities = ensure_region_ca(directory, PASSPHRASE, NAMES, now)
        self.pair: KeyPair = ensure_receipt_key(self.authorities, directory, PASSPHRASE, now)
        assert isinstance(self.pair.key, Ed25519PrivateKey)
        self._signer = ReceiptSigner(self.pair.key)
        self.epoch = epoch
        self.alter: Callable[[Receipt], Receipt] = lambda receipt: receipt
        self.root_file = directory / "root.crt"
        self.certificates = directory / "receipts.crt"

    def issue(self, footer: Footer) -> list[str]:
        """One receipt for each instance of a pack."""
        moment = rfc3339(datetime.now(UTC))
        return [
            self._signer.sign(
                self.alter(
                    Receipt(
                        region=footer.region,
                        institution=footer.institution,
                        site=footer.site,
                        sop_instance_uid=instance.sop_instance_uid,
                        digest=instance.digest,
                        epoch=self.epoch,
                        pack_id=footer.pack_id,
                        committed_at=moment,
                        key_id=self._signer.key_id,
                    )
                )
            )
            for instance in footer.instances
        ]


class MemoryCentre:
    """`Centre` in memory: keeps what it verified; `before` and `after` may raise, as a line does."""

    def __init__(self, office: ReceiptOffice) -> None:
        self.office = office
        self.packs: dict[str, Footer] = {}
        self.puts: list[str] = []
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def receipts(self, pack_id: str) -> list[str] | None:
        self.asked.append(pack_id)
        self.before(pack_id)
        return self.office.issue(self.packs[pack_id]) if pack_id in self.packs else None

    def put(self, pack_id: str, path: Path) -> list[str]:
        self.puts.append(pack_id)
        self.before(pack_id)
        self.packs[pack_id] = verify(path)
        self.after(pack_id)
        return self.office.issue(self.packs[pack_id])
