"""Synthetic data: same seed, same bytes; plausible Hounsfield units; UIDs that nobody else has."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid as dicom_uid

from load_tests.data.synthetic import CtStudy, RunUids, chest_slice


def test_the_same_seed_gives_the_same_pixels_and_another_seed_does_not():
    assert (chest_slice(5, 3, 10, 64) == chest_slice(5, 3, 10, 64)).all()
    assert (chest_slice(5, 3, 10, 64) != chest_slice(6, 3, 10, 64)).any()


def test_neighbouring_slices_differ_as_in_a_real_acquisition():
    assert (chest_slice(5, 3, 10, 64) != chest_slice(5, 4, 10, 64)).mean() > 0.5


def test_a_slice_through_the_chest_has_air_lung_tissue_and_bone():
    hounsfield = chest_slice(1, 150, 300, 256).astype(int) - 1024
    for low, high in ((-1024, -950), (-900, -740), (0, 90), (550, 700)):
        share = ((hounsfield >= low) & (hounsfield <= high)).mean()
        assert share > 0.01, f"{low}..{high} HU"


def test_stored_values_fit_twelve_bits():
    assert chest_slice(1, 0, 2, 64).max() <= 4095


@pytest.mark.parametrize("index", [-1, 10])
def test_a_slice_outside_the_series_is_refused(index):
    with pytest.raises(ValueError, match=r"outside 0\.\.9"):
        chest_slice(1, index, 10, 16)


@given(st.uuids(), st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_every_uid_is_valid_and_of_the_uuid_root(run, label):
    uid = RunUids(run).uid(*label)
    assert dicom_uid.UID(uid).is_valid
    assert UUID(int=int(uid.removeprefix("2.25."))).version == 5


def test_uids_depend_on_the_run_and_the_label():
    one, other = RunUids.fresh(), RunUids.fresh()
    assert one.uid("a") == one.uid("a")
    assert len({one.uid("a"), one.uid("b"), other.uid("a")}) == 3


def test_a_study_is_in_order_and_its_pixels_have_the_announced_size():
    slices = list(CtStudy(RunUids.fresh(), seed=2, count=3, matrix=32).slices())
    assert [ds.InstanceNumber for ds in slices] == [1, 2, 3]
    assert [float(ds.ImagePositionPatient[2]) for ds in slices] == [0, -1, -2]
    assert all(len(ds.PixelData) == 32 * 32 * 2 == np.asarray(ds.pixel_array).nbytes for ds in slices)
