"""DIMSE for Locust: a modality's association, each C-STORE reported with its time and size."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from time import monotonic

from cli.verify.corpus import build_series
from cli.verify.modality import Modality, ModalityError, store
from cli.verify.target import Target
from load_tests.data.synthetic import CtStudy
from load_tests.scene import Reports

_CT_EXPLICIT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")

# pynetdicom logs each refusal at ERROR; here refusals are counted as failures instead.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class StoreRefusedError(Exception):
    """The branch answered a C-STORE with another status than success, or not at all (PS3.4 B.2.3)."""


class DimseClient:
    """Sends whole studies to a branch, one association each, as a scanner does after an examination."""

    def __init__(self, target: Target, reports: Reports) -> None:
        self._modality = Modality(target.branch, target.calling_ae)
        self._reports = reports

    def send(self, study: CtStudy, planned: float) -> int:
        """Send every slice; returns how many were acknowledged. Time to associate counts from `planned`."""
        acknowledged = 0
        try:
            with (
                self._modality.associate([_CT_EXPLICIT]) as association,
                tempfile.TemporaryDirectory() as folder,
            ):
                self._report("A-ASSOCIATE", "associate", planned, 0, None)
                for specimen in build_series(study, Path(folder)):
                    started = monotonic()
                    status, _ = store(association, specimen)
                    refusal = None if status == 0 else StoreRefusedError(f"status {status}")
                    self._report("C-STORE", "CT slice", started, specimen.size, refusal)
                    acknowledged += refusal is None
        except ModalityError as error:
            self._report("A-ASSOCIATE", "associate", planned, 0, error)
        return acknowledged

    def _report(self, verb: str, name: str, since: float, length: int, failure: Exception | None) -> None:
        self._reports.fire(
            request_type=verb,
            name=name,
            response_time=(monotonic() - since) * 1000,
            response_length=length,
            exception=failure,
            context={},
        )
