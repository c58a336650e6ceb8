"""The clients report every request, and call nothing a success that is not one."""

from __future__ import annotations

import dataclasses

import pytest

from cli.verify.target import DicomNode
from load_tests.clients.dicomweb import DicomWebClient
from load_tests.clients.dimse import DimseClient
from load_tests.data.synthetic import CtStudy, RunUids
from load_tests.prepare import NotPreparedError, prepare_scene
from tests.cli.region_double import RegionDouble, running


class Reported(list):
    def fire(self, **request):
        self.append(request)


@pytest.fixture
def reports():
    return Reported()


@pytest.fixture
def study():
    return CtStudy(RunUids.fresh(), seed=1, count=2, matrix=16)


def test_a_frame_comes_back_and_is_reported_once(reports, study):
    with running(RegionDouble()) as target:
        assert DimseClient(target, reports).send(study, planned=0) == 2
        reports.clear()
        path = f"/studies/{study.study_uid}/series/{study.series_uid}/instances/{study.slice_uid(1)}/frames/1"
        frame = DicomWebClient(target, reports).frame("WADO frame", path)
    assert frame == study.slice(1).PixelData
    (report,) = reports
    assert report["exception"] is None
    assert report["response_length"] > len(frame)


def test_a_missing_instance_is_a_failure_with_its_status(reports):
    with running(RegionDouble()) as target:
        assert DicomWebClient(target, reports).frame("WADO frame", "/studies/1/series/2") is None
    assert str(reports[0]["exception"]) == "HTTP 404"


def test_a_refused_token_is_a_failure(reports):
    with running(RegionDouble()) as target:
        stranger = dataclasses.replace(target, token="other")
        assert DicomWebClient(stranger, reports).search("QIDO", "/studies?PatientID=x") is None
    assert str(reports[0]["exception"]) == "HTTP 401"


def test_a_transport_error_is_a_failure(reports):
    with running(RegionDouble()) as target:
        gone = dataclasses.replace(target, centre_url="http://127.0.0.1:1")
        assert DicomWebClient(gone, reports).search("QIDO", "/studies") is None
    assert reports[0]["exception"] is not None


def test_time_is_counted_from_the_planned_start(reports, monkeypatch):
    monkeypatch.setattr("load_tests.clients.dicomweb.monotonic", lambda: 107.5)
    with running(RegionDouble()) as target:
        DicomWebClient(target, reports).search("QIDO", "/studies?PatientID=x", planned=100.0)
    assert reports[0]["response_time"] == 7500.0


def test_a_refused_slice_is_a_failure_and_not_acknowledged(reports, study):
    with running(RegionDouble(refuse=lambda _: True)) as target:
        assert DimseClient(target, reports).send(study, planned=0) == 0
    assert [str(r["exception"]) for r in reports if r["request_type"] == "C-STORE"] == ["status 42752"] * 2


def test_a_branch_that_is_away_is_a_failed_association(reports, study):
    with running(RegionDouble()) as target:
        away = dataclasses.replace(target, branch=DicomNode("127.0.0.1", 1, "BRANCH"))
        assert DimseClient(away, reports).send(study, planned=0) == 0
    assert reports[0]["request_type"] == "A-ASSOCIATE"
    assert reports[0]["exception"] is not None


def test_readers_come_only_after_every_slice_is_at_the_centre():
    with running(RegionDouble(delay=0.2)) as target:
        scene = prepare_scene(target, studies=1, slices=2, matrix=16)
    assert [study.count for study in scene.studies] == [2]


def test_a_branch_that_refuses_ends_the_run_before_it_begins():
    region = RegionDouble(refuse=lambda _: True)
    with running(region) as target, pytest.raises(NotPreparedError, match="slice 1"):
        prepare_scene(target, studies=1, slices=2, matrix=16)


def test_slices_that_never_arrive_end_the_run_with_their_number(monkeypatch):
    monkeypatch.setattr("load_tests.prepare.PATIENCE_SECONDS", 0.2)
    with running(RegionDouble(delay=60)) as target, pytest.raises(NotPreparedError, match="0 of 2 slices"):
        prepare_scene(target, studies=1, slices=2, matrix=16)
