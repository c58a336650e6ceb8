"""The comparison with real programs: every subject in the smallest row that it takes part in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.corpus import Corpus
from bench.peers import Peers, obtain
from bench.processes import accounts
from bench.results import CPU, RowResult
from bench.rows.archives import archives
from bench.rows.cold import ColdFrames
from bench.rows.frames import Frames
from bench.rows.growth import SHARE, Growth
from bench.rows.reading_room import ReadingRoomJourney
from bench.rows.receive import RATE, Receive
from bench.rows.row import Row, Stage
from bench.rows.search import Search
from bench.rows.stow import Stow
from bench.rows.study import Study
from bench.runner import RowRunner
from bench.servers.postgres import binaries
from bench.subjects.receivers import StockPynetdicom, Storescp
from bench.subjects.static_nginx import StaticNginx
from bench.subjects.subject import Subject
from tests.integration.postgres import binaries as postgres_or_skip
from toolchain.progress import Silent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


class OneSecond(Stage):
    """A stage for the shortest measurements."""

    @property
    def seconds(self) -> int:
        return 1

    @property
    def repeats(self) -> int:
        return 1


class Everybody(Receive):
    """Eight slices to everyone who speaks DIMSE."""

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["8 slices"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return [*archives(peers), Storescp(peers), StockPynetdicom()]


class FramesOnce(Frames):
    def cases(self, stage: Stage) -> Sequence[str]:
        return ["frames, 2 connections", "instances, 2 connections"]


class ColdOnce(ColdFrames):
    seconds = 1
    most_a_second = 2000


class StowOnce(Stow):
    def cases(self, stage: Stage) -> Sequence[str]:
        return ["100 parts"]


@pytest.fixture(scope="module")
def peers() -> Peers:
    postgres_or_skip()
    assert binaries().is_dir()
    return obtain(Silent())


@pytest.fixture
def stage(peers: Peers) -> Iterator[Stage]:
    # PostgreSQL's account must get to its folder, which pytest's own directories keep it from.
    with tempfile.TemporaryDirectory(prefix="pacs-bench-") as directory:
        home = Path(directory)
        for folder in (home, home / "w", home / "m"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711)
        yield from _nothing_left(
            OneSecond(peers, home / "w", home / "m", quick=True, corpus=Corpus(matrix=64)), home
        )


def _nothing_left(stage: Stage, home: Path) -> Iterator[Stage]:
    """Hand out `stage`; afterwards no process of it may be there any more."""
    before = {account.pid for account in accounts()}
    yield stage
    left = [account.pid for account in accounts() if account.pid not in before]
    told = [Path(f"/proc/{pid}/cmdline") for pid in left]
    assert [path.read_text() for path in told if path.exists() and str(home) in path.read_text()] == []


def run(row: Row, stage: Stage) -> RowResult:
    result = RowRunner(row, stage, Silent()).run()
    assert {outcome.subject: outcome.reason for outcome in result.failures} == {}
    return result


def measured(result: RowResult) -> dict[str, set[str]]:
    """Case -> the subjects that have figures."""
    return {
        case: {outcome.subject for outcome in result.outcomes if outcome.case == case and outcome.figures}
        for case in result.cases
    }


def test_everyone_who_speaks_dimse_receives(stage: Stage) -> None:
    result = run(Everybody(), stage)
    assert measured(result) == {"8 slices": {"archive", "orthanc", "orthanc-defaults", "dcmtk", "pynetdicom"}}
    # DCMTK may need less for eight small slices than one tick of the kernel's count.
    assert all(outcome.figures[CPU][0] > 0 for outcome in result.outcomes if outcome.subject != "dcmtk")
    assert list(stage.work.iterdir()) == list(stage.memory.iterdir()) == []


def test_everyone_who_serves_images_is_asked_over_http(stage: Stage) -> None:
    result = run(FramesOnce(), stage)
    names = {"archive", "orthanc", "orthanc-defaults", StaticNginx.name}
    assert measured(result) == dict.fromkeys(result.cases, names)


def test_frames_come_cold_from_ceph_by_the_gateway_and_from_radosgw_itself(stage: Stage) -> None:
    assert measured(run(ColdOnce(), stage)) == {"frames, 10 connections": {"archive", "rgw-direct"}}


def test_every_archive_takes_stow_and_finds_it(stage: Stage) -> None:
    assert measured(run(StowOnce(), stage)) == {"100 parts": {"archive", "orthanc", "orthanc-defaults"}}


def test_every_archive_answers_searches(stage: Stage) -> None:
    found = measured(run(Search(), stage))
    assert found["QIDO-RS"] == found["C-FIND"] == {"archive", "orthanc", "orthanc-defaults"}


def test_a_whole_study_comes_by_every_way_there_is(stage: Stage) -> None:
    found = measured(run(Study(), stage))
    assert found["WADO-RS multipart"] == {"archive", "orthanc", "orthanc-defaults"}
    assert found["C-GET"] == found["C-MOVE"] == {"archive", "orthanc", "orthanc-defaults"}


class SmallGrowth(Growth):
    def cases(self, stage: Stage) -> Sequence[str]:
        return ["100 instances", "200 instances"]


def test_an_index_grows_by_storing_and_its_rate_is_compared_with_the_first(stage: Stage) -> None:
    result = run(SmallGrowth(), stage)
    assert measured(result) == {case: {"archive", "orthanc", "orthanc-defaults"} for case in result.cases}
    first, second = (result.outcome(case, "archive") for case in result.cases)
    assert first is not None
    assert second is not None
    for outcome in (first, second):
        (rate,), (share,) = outcome.figures[RATE], outcome.figures[SHARE]
        assert share > 0
        assert rate / share == pytest.approx(first.figures[RATE][0] / first.figures[SHARE][0])


def test_readers_open_studies_of_every_archive(stage: Stage) -> None:
    row = ReadingRoomJourney()
    for subject in archives(stage.peers):
        home = stage.work / subject.name
        home.mkdir()
        home.chmod(0o711)
        try:
            subject.start(home)
            row.prepare(stage, subject)
            seen = row.read(stage, subject, rate=2.0)
        finally:
            subject.stop()
        assert (seen.failed, seen.reason) == (0, None), subject.name
        assert seen.journeys > 0
        assert seen.starts >= seen.journeys
