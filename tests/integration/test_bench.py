"""The comparison with real programs: every subject in the smallest row that it takes part in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.corpus import Corpus
from bench.peers import Peers, obtain
from bench.processes import accounts
from bench.results import CPU, RowResult
from bench.rows.archives import archives
from bench.rows.frames import Frames
from bench.rows.receive import Receive
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


class Everybody(Receive):
    """Eight slices to everyone who speaks DIMSE."""

    def cases(self, stage: Stage) -> Sequence[str]:
        return ["8 slices"]

    def subjects(self, peers: Peers) -> Sequence[Subject]:
        return [*archives(peers), Storescp(peers), StockPynetdicom()]


class FramesOnce(Frames):
    def cases(self, stage: Stage) -> Sequence[str]:
        return ["frames, 2 connections", "instances, 2 connections"]


class StowOnce(Stow):
    def cases(self, stage: Stage) -> Sequence[str]:
        return ["100 parts"]


@pytest.fixture(scope="module")
def peers() -> Peers:
    postgres_or_skip()
    assert binaries().is_dir()
    return obtain(Silent())


@pytest.fixture
def stage(peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # PostgreSQL's account must get to its folder, and a socket's path has at most 107 bytes.
    home = tmp_path_factory.mktemp("b")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o711)
    for name in ("w", "m"):
        (home / name).mkdir()
        (home / name).chmod(0o711)
    before = {account.pid for account in accounts()}
    yield OneSecond(peers, home / "w", home / "m", quick=True, corpus=Corpus(matrix=64))
    left = [account.pid for account in accounts() if account.pid not in before]
    told = [Path(f"/proc/{pid}/cmdline") for pid in left]
    assert [path.read_text() for path in told if path.exists() and str(home) in path.read_text()] == []


def run(row: Row, stage: Stage) -> RowResult:
    result = RowRunner(row, stage, 1, Silent()).run()
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
    assert all(outcome.figures[CPU][0] > 0 for outcome in result.outcomes)
    assert list(stage.work.iterdir()) == list(stage.memory.iterdir()) == []


def test_everyone_who_serves_images_is_asked_over_http(stage: Stage) -> None:
    result = run(FramesOnce(), stage)
    names = {"archive", "orthanc", "orthanc-defaults", StaticNginx.name}
    assert measured(result) == dict.fromkeys(result.cases, names)


def test_every_archive_takes_stow_and_finds_it(stage: Stage) -> None:
    assert measured(run(StowOnce(), stage)) == {"100 parts": {"archive", "orthanc", "orthanc-defaults"}}


def test_every_archive_answers_searches(stage: Stage) -> None:
    found = measured(run(Search(), stage))
    assert found["QIDO-RS"] == {"archive", "orthanc", "orthanc-defaults"}
    assert found["C-FIND"] >= {"orthanc", "orthanc-defaults"}


def test_a_whole_study_comes_by_every_way_there_is(stage: Stage) -> None:
    found = measured(run(Study(), stage))
    assert found["WADO-RS multipart"] == {"archive", "orthanc", "orthanc-defaults"}
    assert found["C-GET"] & found["C-MOVE"] >= {"orthanc", "orthanc-defaults"}
