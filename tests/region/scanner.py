"""A modality during a fault: it sends a fresh study slice by slice, and each slice until it was acknowledged."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from pynetdicom.association import Association

from cli.verify.corpus import Specimen, build_series
from cli.verify.modality import Modality, ModalityError, store
from cli.verify.target import Target
from load_tests.data.synthetic import CtStudy, RunUids

_SEED = 20260102
_MATRIX = 128  # 32 KiB a slice: the fault is what is tested, not the line
_PAUSE_SECONDS = 0.03
_RETRY_SECONDS = 0.25
_SUCCESS = 0x0000


@dataclass(frozen=True)
class Acknowledged:
    """A slice that the branch answered with success, and when (monotonic seconds)."""

    specimen: Specimen
    moment: float


class Scanner:
    """A CT in a thread of its own. What it was told success for it forgets, as a real one does."""

    def __init__(self, target: Target, folder: Path) -> None:
        uids = RunUids.fresh()
        self._study = CtStudy(
            uids, _SEED, 10_000, _MATRIX, "fault", f"F{uids.token}", patient_name="Phantom^Fault"
        )
        self._folder = folder / uids.token
        self._folder.mkdir()
        self._modality = Modality(target.branch, target.calling_ae)
        self._said = threading.Condition()
        self._acknowledged: list[Acknowledged] = []
        self._attempts = 0
        self._finishing, self._off = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send, name="scanner", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Send the present slice to its end; after an error stop at once."""
        if kind is not None:
            self._off.set()
        self._finishing.set()
        self._thread.join()

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Everything that success was answered for, in that order."""
        with self._said:
            return list(self._acknowledged)

    @property
    def resent(self) -> int:
        """How often a slice went out that had gone out before."""
        return max(0, self._attempts - len(self.acknowledged))

    def wait_for(self, count: int, *, after: float = 0.0, seconds: float = 60.0) -> list[Acknowledged]:
        """The slices acknowledged after the moment `after`, once they are `count`. AssertionError if not."""

        def since() -> list[Acknowledged]:
            return [slice_ for slice_ in self._acknowledged if slice_.moment > after]

        with self._said:
            enough = self._said.wait_for(lambda: len(since()) >= count, seconds)
            assert enough, f"{len(since())} of {count} slices acknowledged within {seconds:.0f} s"
            return since()

    def _send(self) -> None:
        slices = build_series(self._study, self._folder)
        present = next(slices)
        kinds = [(present.sop_class, present.transfer_syntax)]
        while not self._off.is_set():
            with contextlib.suppress(ModalityError), self._modality.associate(kinds) as association:
                while not self._off.is_set() and self._store(association, present):
                    if self._finishing.is_set():
                        return
                    present = next(slices)
                    self._off.wait(_PAUSE_SECONDS)
            self._off.wait(_RETRY_SECONDS)

    def _store(self, association: Association, specimen: Specimen) -> bool:
        self._attempts += 1
        status, _ = store(association, specimen)
        if status != _SUCCESS:
            return False
        with self._said:
            self._acknowledged.append(Acknowledged(specimen, monotonic()))
            self._said.notify_all()
        specimen.path.unlink()
        return True
