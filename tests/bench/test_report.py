from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.errors import KeepError
from bench.plots import plot
from bench.report import document, number, section, summary
from bench.results import Outcome, RowResult
from bench.session import KEPT, keep, kept_run, write
from tests.bench.samples import FAILED, MISSED, REACHED, outcome, row, run


def test_a_row_shows_medians_percentiles_and_whether_its_aim_is_reached() -> None:
    text = section(REACHED)
    assert "| 1 association | archive | 600 (590) |" in text
    assert "| 1 association | orthanc | 100 (90) |" in text
    assert "| instances/s: archive >= 5 x orthanc | 1 association | 6 x | yes |" in text


def test_a_row_that_is_not_reached_says_by_how_much() -> None:
    assert "| 2 | instances/s: archive >= 5 x orthanc | 1 association | 3 x | **no** |" in summary([MISSED])


def test_a_subject_that_failed_is_shown_with_its_reason() -> None:
    assert "failed: Orthanc did not listen: it ended with 1" in section(FAILED)
    assert "**not measured**" in summary([FAILED])


def test_a_subject_that_cannot_is_not_shown_as_failed() -> None:
    cannot = row([Outcome("1", "archive", reason="it has no | such verb")])
    assert "it has no \\| such verb" in section(cannot)
    assert "failed" not in section(cannot)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.00401, "0.004"),
        (0.25, "0.25"),
        (6, "6"),
        (12.34, "12.3"),
        (123.4, "123"),
        (61234.5, "61 234"),
    ],
)
def test_numbers_have_three_digits_that_matter(value: float, text: str) -> None:
    assert number(value) == text


def test_the_page_names_machine_versions_and_commit() -> None:
    text = document(run(REACHED))
    for fact in ("| cores | 2 |", "| orthanc (version) | 1.13.0 |", "| commit | abc1234 |", "(row-2.svg)"):
        assert fact in text


@pytest.mark.parametrize("found", [REACHED, FAILED, row([]), row([outcome("<a> & b", "archive", 0)])])
def test_a_plot_is_wellformed_and_has_a_bar_or_a_reason_for_each_subject(found: RowResult) -> None:
    root = ElementTree.fromstring(plot(found))  # noqa: S314 - our own text
    bars = [node for node in root.iter() if node.tag.endswith("rect")][1:]
    reasons = [node for node in root.iter() if node.get("fill") == "#aa3333"]
    assert len(bars) + len(reasons) == len(found.outcomes)


def test_longer_bars_are_higher_medians() -> None:
    root = ElementTree.fromstring(plot(REACHED))  # noqa: S314
    ours, theirs = [float(node.get("width", 0)) for node in root.iter() if node.tag.endswith("rect")][1:]
    assert ours == pytest.approx(6 * theirs, rel=0.01)


def test_what_is_kept_reads_back_and_old_plots_go(tmp_path: Path) -> None:
    (tmp_path / "row-99.svg").write_text("old")
    keep(run(REACHED), [2], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", "results.json", "row-2.svg"}
    assert kept_run(tmp_path) == run(REACHED)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (run(row(REACHED.outcomes, quick=True)), "quick"),
        (run(row(REACHED.outcomes, others_share=0.5)), "50%"),
        (run(REACHED, commit="abc1234 with changes"), "changes"),
        (run(), "missing"),
    ],
)
def test_results_that_promise_less_are_not_kept(tmp_path: Path, found: object, why: str) -> None:
    with pytest.raises(KeepError, match=why):
        keep(found, [2], tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_committed_page_and_plots_are_what_the_committed_results_give(tmp_path: Path) -> None:
    kept = kept_run()
    if kept is None:
        assert (KEPT / "README.md").read_text() == document(None)
        assert [path.name for path in KEPT.iterdir()] == ["README.md"]
        return
    write(kept, tmp_path)
    assert {path.name: path.read_bytes() for path in KEPT.iterdir()} == {
        path.name: path.read_bytes() for path in tmp_path.iterdir()
    }
