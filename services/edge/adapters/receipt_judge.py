"""Judges the receipts of a whole pack with the pinned root (contracts section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from services.common.clock import Clock
from services.edge.errors import ReceiptRejected
from services.edge.ports import Commitment
from services.packs.pack import Footer
from services.packs.receipts import Receipt, ReceiptInvalid, ReceiptVerifier


class PinnedReceiptJudge:
    """`ReceiptJudge` for one region. `known_epoch` tells the highest epoch seen so far.

    The certificates of the receipt keys are read again when a receipt does not verify: the centre may have
    got a new key while this process runs.
    """

    def __init__(
        self, root: Path, certificates: Path, *, region: str, clock: Clock, known_epoch: Callable[[], int]
    ) -> None:
        self._root = root
        self._certificates = certificates
        self._region = region
        self._clock = clock
        self._known_epoch = known_epoch
        self._verifier: ReceiptVerifier | None = None

    def verify(self, footer: Footer, receipts: Sequence[str]) -> Commitment:
        """See `ReceiptJudge.verify`; every instance of the pack needs its own receipt, of one epoch."""
        if not receipts:
            raise ReceiptRejected("the centre sent no receipt", reason="missing")
        checked = self._checked(receipts)
        epochs = {receipt.epoch for receipt in checked}
        if len(epochs) > 1:
            raise ReceiptRejected("the receipts of one pack are of several epochs", reason="epoch")
        stated = {(receipt.sop_instance_uid, receipt.digest): receipt for receipt in checked}
        for receipt in stated.values():
            for field in ("institution", "site", "pack_id"):
                if getattr(receipt, field) != getattr(footer, field):
                    raise ReceiptRejected(f"a receipt is of another {field.replace('_', ' ')}", reason=field)
        needed = {(instance.sop_instance_uid, instance.digest) for instance in footer.instances}
        if needed != stated.keys():
            raise ReceiptRejected(
                f"{len(needed - stated.keys())} of {len(needed)} instances have no receipt, "
                f"{len(stated.keys() - needed)} receipts are of none",
                reason="instances",
            )
        latest = max(datetime.fromisoformat(receipt.committed_at) for receipt in stated.values())
        return Commitment(footer.pack_id, epochs.pop(), latest)

    def _checked(self, receipts: Sequence[str]) -> list[Receipt]:
        epoch = self._known_epoch()
        if self._verifier is not None:
            try:
                return [self._verifier.verify(receipt, epoch=epoch) for receipt in receipts]
            except ReceiptInvalid:
                self._verifier = None
        try:
            verifier = self._load()
            checked = [verifier.verify(receipt, epoch=epoch) for receipt in receipts]
        except (ReceiptInvalid, OSError) as error:
            raise ReceiptRejected(str(error), reason="invalid") from error
        self._verifier = verifier
        return checked

    def _load(self) -> ReceiptVerifier:
        root = x509.load_pem_x509_certificate(self._root.read_bytes())
        certificates = x509.load_pem_x509_certificates(self._certificates.read_bytes())
        return ReceiptVerifier(root, certificates, region=self._region, clock=self._clock)
