"""The proof itself: what is sent, what must come back, and each comparison as one line of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import requests

from cli.verify.centre import Arrival, Centre, CentreError
from cli.verify.corpus import CORPUS, Recipe, Specimen, build_conflict, build_corpus, build_series
from cli.verify.modality import Modality, ModalityError, store
from cli.verify.target import Target
from load_tests.data.synthetic import CtStudy, RunUids

READABLE_WITHIN_SECONDS = 5.0
"""From the branch's success to readable at the centre, for a line that is not the bottleneck."""

PATIENCE_SECONDS = 60.0
"""How long a file may take before it counts as lost."""

SERIES_SLICES = 300
# 128 KiB a slice: real CT has four times that, but verify runs after every `up` and its images stay.
SERIES_MATRIX = 256
SERIES_SEED = 20260101


@dataclass(frozen=True)
class Check:
    """One comparison. `seen` says what was found; `seconds` is a latency where the check measures one."""

    name: str
    subject: str
    passed: bool
    seen: str
    seconds: float | None = None


@dataclass
class Report:
    """All comparisons of one run, in the order they were made."""

    run: str
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    def add(self, name: str, subject: str, passed: bool, seen: str, seconds: float | None = None) -> None:
        self.checks.append(Check(name, subject, passed, seen, seconds))

    @contextmanager
    def attempt(self, name: str, subject: str) -> Iterator[None]:
        """A question the region could not answer is a failed check, and the next ones are still asked."""
        try:
            yield
        except (CentreError, ModalityError, requests.RequestException, KeyError, ValueError) as error:
            self.add(name, subject, False, f"{type(error).__name__}: {error}")


def run_checks(
    target: Target,
    folder: Path,
    *,
    recipes: Sequence[Recipe] = CORPUS,
    slices: int = SERIES_SLICES,
    patience: float = PATIENCE_SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Send the corpus, the conflict and the synthetic CT through the branch and read all of it at the centre.

    Files are written below `folder`, which the caller removes. Every run has UIDs and patient IDs
    of its own, so runs neither disturb nor help each other.
    """
    uids = RunUids.fresh()
    proof = _Proof(target, uids, folder, patience, Report(uids.token))
    for step, title in (
        (proof.doors, "the doors: C-ECHO, and no answer without a token"),
        (lambda: proof.corpus(recipes), "files of many kinds, byte for byte"),
        (proof.conflict, "one UID with two contents"),
        (lambda: proof.held_open_series(slices), f"{slices} CT slices on an association that stays open"),
    ):
        progress(title)
        with proof.report.attempt("step", title):
            step()
    return proof.report


@dataclass
class _Proof:
    target: Target
    uids: RunUids
    folder: Path
    patience: float
    report: Report

    def __post_init__(self) -> None:
        self.modality = Modality(self.target.branch, self.target.calling_ae)
        self.centre = Centre(self.target)

    def doors(self) -> None:
        status, seconds = self.modality.echo()
        self.report.add("C-ECHO", self.target.branch.ae_title, status == 0x0000, _status(status), seconds)
        with self.report.attempt("no token", "QIDO-RS"):
            with self.target.session() as anonymous:
                del anonymous.headers["Authorization"]
                answer = anonymous.get(f"{self.target.dicomweb_url}/studies", timeout=30)
            self.report.add("no token", "QIDO-RS", answer.status_code == 401, f"HTTP {answer.status_code}")

    def corpus(self, recipes: Sequence[Recipe]) -> None:
        specimens = build_corpus(self.uids, self.folder, recipes)
        acknowledged = []
        with self.modality.associate((s.sop_class, s.transfer_syntax) for s in specimens) as association:
            for specimen in specimens:
                with self.report.attempt("C-STORE", specimen.key):
                    status, moment = store(association, specimen)
                    if status == 0x0000:
                        acknowledged.append((specimen, moment))
                    else:
                        self.report.add("C-STORE", specimen.key, False, _status(status))
        seen = f"{len(acknowledged)} of {len(specimens)} acknowledged"
        self.report.add("C-STORE", "corpus", len(acknowledged) == len(specimens), seen)
        for specimen, moment in acknowledged:
            if self._bytes_equal(specimen, moment):
                self._metadata(specimen)
                self._frames(specimen)
                self._names(specimen)

    def conflict(self) -> None:
        first, second = build_conflict(self.uids, self.folder)
        with self.modality.associate([(first.sop_class, first.transfer_syntax)]) as association:
            stored = [store(association, specimen) for specimen in (first, second)]
        for specimen, (status, _) in zip((first, second), stored, strict=True):
            self.report.add("C-STORE", specimen.what, status == 0x0000, _status(status))
        self._bytes_equal(first, stored[0][1])
        with self.report.attempt("conflict", first.key):
            listed = self._until_listed(first, stored[1][1])
            flagged = [entry for entry in listed if entry["sop_instance_uid"] == first.sop_uid]
            kept = {str(entry["digest"]) for entry in flagged} | {first.digest}
            self.report.add(
                "conflict", first.key, kept == {first.digest, second.digest},
                f"{len(kept)} versions kept, {len(flagged)} flagged",
            )  # fmt: skip
        with self.report.attempt("second version", first.key):
            same = self.centre.version(second).digest == second.digest
            self.report.add("second version", first.key, same, "its bytes are equal" if same else "altered")

    def held_open_series(self, count: int) -> None:
        study = CtStudy(
            self.uids, SERIES_SEED, count, SERIES_MATRIX, label="ct-series",
            patient_id=f"V{self.uids.token}-ct-series", patient_name="Phantom^Chest",
        )  # fmt: skip
        expected: Counter[str] = Counter()
        slices = build_series(study, self.folder)
        first = next(slices)
        with (
            self.modality.associate([(first.sop_class, first.transfer_syntax)]) as association,
            ThreadPoolExecutor(1) as watcher,
        ):
            status, moment = store(association, first)
            expected[first.digest] += 1
            self.report.add("C-STORE", "first slice", status == 0x0000, _status(status))
            self._latency(self.centre, first, moment, "idle, association open")
            last, refused, watched = first, 0, None
            for specimen in slices:
                status, moment = store(association, specimen)
                refused += status != 0x0000
                expected[specimen.digest] += 1
                last = specimen
                specimen.path.unlink()
                if watched is None:
                    # Its own client: an HTTP session is not shared between threads.
                    watched = watcher.submit(
                        self._latency, Centre(self.target), specimen, moment, "while the rest is sent"
                    )
            self.report.add("C-STORE", f"{count} slices", refused == 0, f"{refused} refused")
            if watched is not None:
                watched.result()
            self._latency(self.centre, last, moment, "last slice, association open")
        self._series(last, moment, expected)

    def _bytes_equal(self, specimen: Specimen, moment: float) -> bool:
        with self.report.attempt("bytes", specimen.key):
            arrival = self.centre.arrival(specimen, moment, self.patience)
            if arrival is None:
                self.report.add("bytes", specimen.key, False, f"not readable after {self.patience:.0f} s")
                return False
            same = arrival.part10.digest == specimen.digest
            seen = specimen.syntax_name if same else _difference(specimen, arrival)
            self.report.add("bytes", specimen.key, same, seen)
            return True
        return False

    def _metadata(self, specimen: Specimen) -> None:
        with self.report.attempt("metadata", specimen.key):
            found = self.centre.dicomweb.retrieve_instance_metadata(
                specimen.study_uid, specimen.series_uid, specimen.sop_uid
            )
            told = [found.get(tag, {}).get("Value", [""])[0] for tag in ("00080016", "00080018", "00100020")]
            sent = [specimen.sop_class, specimen.sop_uid, specimen.patient_id]
            self.report.add("metadata", specimen.key, told == sent, f"{len(found)} attributes")

    def _frames(self, specimen: Specimen) -> None:
        """First and last frame of what has several, in the form they are stored in."""
        media = _FRAME_MEDIA.get(specimen.transfer_syntax)
        if len(specimen.frames) < 2 or media is None:
            return
        with self.report.attempt("frames", specimen.key):
            numbers = [1, len(specimen.frames)]
            got = self.centre.dicomweb.retrieve_instance_frames(
                specimen.study_uid, specimen.series_uid, specimen.sop_uid, numbers, media_types=media
            )
            # A frame of odd length travels with the pad byte of its fragment or without it (PS3.5 A.4).
            sent = (specimen.frames[0], specimen.frames[-1])
            same = [a.rstrip(b"\0") == b.rstrip(b"\0") for a, b in zip(got, sent, strict=True)]
            self.report.add("frames", specimen.key, all(same), f"{sum(same)} of frames {numbers} equal")

    def _names(self, specimen: Specimen) -> None:
        for name in specimen.search:
            with self.report.attempt("QIDO name", specimen.key):
                found = self.centre.studies_named(name, specimen.patient_id)
                uids = [study["0020000D"]["Value"][0] for study in found]
                seen = f"{name}: {len(uids)} found"
                self.report.add("QIDO name", specimen.key, uids == [specimen.study_uid], seen)
        if specimen.search:
            with self.report.attempt("QIDO name", specimen.key):
                others = len(self.centre.studies_named("查无此人", specimen.patient_id))
                self.report.add("QIDO name", specimen.key, others == 0, f"another name: {others} found")

    def _latency(self, centre: Centre, specimen: Specimen, moment: float, subject: str) -> None:
        with self.report.attempt("readable within 5 s", subject):
            arrival = centre.arrival(specimen, moment, self.patience)
            if arrival is None:
                self.report.add("readable within 5 s", subject, False, f"not after {self.patience:.0f} s")
                return
            intact = arrival.part10.digest == specimen.digest
            self.report.add(
                "readable within 5 s", subject, intact and arrival.seconds <= READABLE_WITHIN_SECONDS,
                f"{arrival.seconds:.2f} s" if intact else _difference(specimen, arrival), arrival.seconds,
            )  # fmt: skip

    def _series(self, member: Specimen, moment: float, expected: Counter[str]) -> None:
        count = expected.total()
        subject = f"{count} slices"
        with self.report.attempt("QIDO count", subject):
            found = -1
            while found < count and monotonic() - moment < self.patience:
                found = self.centre.instance_count(member.study_uid, member.series_uid)
                if found < count:
                    self.centre.pause()
            self.report.add("QIDO count", subject, found == count, f"{found} listed")
        with self.report.attempt("bytes", subject):
            got = self.centre.series(member)
            missing, foreign = (expected - got).total(), (got - expected).total()
            self.report.add(
                "bytes", subject, got == expected, f"{got.total()} read, {missing} missing, {foreign} altered"
            )
        with self.report.attempt("metadata", subject):
            listed = self.centre.dicomweb.retrieve_series_metadata(member.study_uid, member.series_uid)
            numbers = sorted(entry["00200013"]["Value"][0] for entry in listed)
            complete = numbers == list(range(1, count + 1))
            self.report.add("metadata", subject, complete, f"{len(listed)} instances")

    def _until_listed(self, specimen: Specimen, moment: float) -> list[dict[str, Any]]:
        """The second version travels after the first: ask until the centre lists it or patience ends."""
        while True:
            listed = self.centre.conflicts(specimen.study_uid)
            if listed or monotonic() - moment > self.patience:
                return listed
            self.centre.pause()


_FRAME_MEDIA: dict[str, tuple[tuple[str, str], ...]] = {
    "1.2.840.10008.1.2.1": (("application/octet-stream", "1.2.840.10008.1.2.1"),),
    "1.2.840.10008.1.2.4.50": (("image/jpeg", "1.2.840.10008.1.2.4.50"),),
}
"""Stored transfer syntax -> what to ask frames as (PS3.18 8.7.3.5), for those checked frame by frame."""


def _status(status: int | None) -> str:
    return "no answer" if status is None else f"status 0x{status:04X}"


def _difference(specimen: Specimen, arrival: Arrival) -> str:
    part10 = arrival.part10
    if part10.transfer_syntax != specimen.transfer_syntax:
        return f"came back as {part10.transfer_syntax}"
    return f"digest {part10.digest[:12]} instead of {specimen.digest[:12]} ({len(part10.data_set)} bytes)"
