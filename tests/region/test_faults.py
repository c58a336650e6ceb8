"""What happens to a study that is being sent while a part of the region dies: nothing acknowledged is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from cli.verify.target import Target, target_of
from infra import naming
from infra.config.region import load_region
from tests.figures import Figures, note
from tests.region.arrivals import conflicts, lost, readable
from tests.region.branch import Branch
from tests.region.control_build import without_fdatasync
from tests.region.pods import Pod, pods, wait_until_back
from tests.region.scanner import Scanner
from tests.scale import SCALE
from toolchain.paths import state_directory

pytestmark = [pytest.mark.region, pytest.mark.timeout(1200 * SCALE), pytest.mark.usefixtures("region")]

CENTRE, BRANCH = "dc1", "yanchang"
DATA_PATH = (naming.PACS, naming.CEPH, naming.DATABASE_OPERATOR)
BEFORE, AFTER = (15, 60), 15
"""Slices acknowledged before a fault (any number between these), and those sent after it."""
BACK_SECONDS = 420.0  # more than the kubelet's longest pause between two starts of a container

chance = random.Random(20260103)


def target() -> Target:
    """Where to send and read, with a token of its own: one lives for an hour, a long run for longer."""
    return target_of(load_region("local"), state_directory("local"), site=BRANCH)


def kill(folder: Path, pod: Pod, before: Sequence[Pod]) -> Figures:
    """Kill the pod while a study is sent; what became of the study once the cluster had recovered."""
    door = target()
    with Scanner(door, folder) as scanner:
        scanner.wait_for(chance.randint(*BEFORE))
        struck = monotonic()
        pod.kill()
        resumed = scanner.wait_for(AFTER, after=struck, seconds=BACK_SECONDS)
    seconds = readable(door, resumed[0].specimen, struck, BACK_SECONDS)
    missing = lost(door, scanner.acknowledged, seconds=BACK_SECONDS)
    wait_until_back(before, pod)
    figures = Figures(f"kill {pod}", len(scanner.acknowledged), scanner.resent, len(missing), seconds)
    note(figures)
    assert seconds is not None, f"{figures}: nothing sent after it could be read"
    assert conflicts(door, resumed[0].specimen) == 0, "a slice that was sent again differs from itself"
    return figures


@pytest.mark.parametrize("host", [BRANCH, CENTRE])
def test_killing_any_pod_while_a_study_is_sent_loses_nothing_acknowledged(host: str, tmp_path: Path) -> None:
    # Every pod of the data path; at a larger scale every pod there is, again and again.
    namespaces = DATA_PATH if SCALE == 1 else ()
    for _ in range(SCALE):
        names = [pod.name for pod in pods(host, *namespaces)]
        assert names
        for name in names:
            before = pods(host, *namespaces)
            # Its containers may be new since, or itself: killing one pod ends others, too.
            for pod in (pod for pod in before if pod.name == name):
                assert kill(tmp_path, pod, before).lost == 0


@dataclass(frozen=True)
class Cut:
    """What a power cut took: slices that success was answered for, and rows that were committed."""

    slices: Figures
    rows: Figures


def cut_power(name: str, branch: Branch, folder: Path) -> Cut:
    """Cut the branch's power while a study is sent and rows are committed; what is left of both after its return.

    The line is cut meanwhile: the branch's disk is the only place where what was acknowledged can be.
    """
    door = target()
    with Scanner(door, folder) as scanner:
        with branch.line_cut(), branch.rows_committed() as committed:
            scanner.wait_for(chance.randint(*BEFORE))
            branch.cut_power()
            struck = monotonic()
            rows = committed()
            branch.start()
        resumed = scanner.wait_for(AFTER, after=struck, seconds=BACK_SECONDS)
    seconds = readable(door, resumed[0].specimen, struck, BACK_SECONDS)
    missing = lost(door, scanner.acknowledged, seconds=BACK_SECONDS, nothing_comes=branch.has_sent_all)
    cut = Cut(
        Figures(f"{name}, slices", len(scanner.acknowledged), scanner.resent, len(missing), seconds),
        Figures(f"{name}, committed rows", len(rows), 0, len(rows - branch.rows())),
    )
    note(cut.slices)
    note(cut.rows)
    return cut


def test_a_power_cut_with_the_page_cache_lost_takes_nothing_acknowledged_and_no_committed_row(
    tmp_path: Path,
) -> None:
    branch = Branch(BRANCH)
    branch.prepare_rows()
    for number in range(SCALE):
        cut = cut_power(f"power cut {number + 1}", branch, tmp_path)
        assert cut.slices.seconds is not None
        assert (cut.slices.lost, cut.rows.lost) == (0, 0)
        assert cut.rows.acknowledged > 0
    branch.drop_rows()


def test_the_same_power_cut_without_fdatasync_loses_both(tmp_path: Path) -> None:
    branch = Branch(BRANCH)
    branch.prepare_rows()
    with ExitStack() as stack:
        stack.callback(branch.drop_rows)  # on the disk that was put back
        stack.enter_context(without_fdatasync(branch, ["pacs-archive", "pacs-postgres"]))
        cut = cut_power("control: power cut without fdatasync", branch, tmp_path)
    assert cut.slices.lost > 0, "the control lost no slice: this test cannot detect a loss"
    assert cut.rows.lost > 0, "the control lost no row: this test cannot detect a loss"
