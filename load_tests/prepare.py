"""Before the first reader: studies are sent through the branch and waited for at the centre."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import monotonic

from cli.verify.centre import Centre
from cli.verify.corpus import build_series
from cli.verify.modality import Modality, store
from cli.verify.target import Target
from load_tests.data.synthetic import CtStudy, RunUids
from load_tests.scene import Scene

PATIENCE_SECONDS = 60.0


class NotPreparedError(Exception):
    """The region did not take or show the studies that readers were to open."""


def prepare_scene(
    target: Target, *, studies: int = 3, seed: int = 1, slices: int = 20, matrix: int = 256
) -> Scene:
    """A scene with `studies` CT studies that lie at the centre; raises NotPreparedError."""
    scene = Scene(target, RunUids.fresh(), seed, slices_per_study=slices, matrix=matrix)
    for number in range(studies):
        study = scene.study(f"prior-{number}")
        _send(target, study)
        scene.studies.append(study)
    centre = Centre(target)
    deadline = monotonic() + PATIENCE_SECONDS
    for study in scene.studies:
        while (arrived := centre.instance_count(study.study_uid, study.series_uid)) < study.count:
            if monotonic() > deadline:
                raise NotPreparedError(
                    f"{arrived} of {study.count} slices of {study.label} are at the centre after"
                    f" {PATIENCE_SECONDS:.0f} s; is the line cut? ./pacs status shows the branch's queue"
                )
            centre.pause()
    return scene


def _send(target: Target, study: CtStudy) -> None:
    with tempfile.TemporaryDirectory(prefix="pacs-load-") as folder:
        slices = build_series(study, Path(folder))
        first = next(slices)
        with Modality(target.branch, target.calling_ae).associate(
            [(first.sop_class, first.transfer_syntax)]
        ) as association:
            for specimen in (first, *slices):
                status, _ = store(association, specimen)
                if status != 0:
                    raise NotPreparedError(f"the branch refused {specimen.key} with status {status}")
