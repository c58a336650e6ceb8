"""What is committed under out/ is what the source says, in Grafana's form and in the page's."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from dashboards.boards.region import region
from dashboards.build import OUT, alerts, boards, render, stale, write
from dashboards.config import Config
from dashboards.grafana import dashboard
from dashboards.page_panels import page_panels
from infra.components.gateway import read_pages

BOARDS = boards()


def test_out_is_current():
    assert stale() == [], "run: python -m dashboards.build"


def test_a_changed_a_missing_and_a_foreign_file_are_noticed(tmp_path):
    write(tmp_path)
    assert stale(tmp_path) == []
    (tmp_path / "page" / "panels.json").write_text("altered")
    (tmp_path / "rules" / "branch" / "pacs.yaml").unlink()
    (tmp_path / "grafana" / "old.json").write_text("{}")
    assert stale(tmp_path) == ["grafana/old.json", "page/panels.json", "rules/branch/pacs.yaml"]
    write(tmp_path)
    assert stale(tmp_path) == []


def test_the_check_ends_with_0_when_current():
    assert subprocess.run([sys.executable, "-m", "dashboards.build", "--check"], check=False).returncode == 0


def test_the_page_shows_every_panel_of_every_board_with_the_same_queries():
    page = json.loads((OUT / "page/panels.json").read_text(encoding="utf-8"))
    shown = {panel["key"]: panel for row in page["rows"] for panel in row["panels"]}
    for board in BOARDS:
        on_grafana = json.loads((OUT / f"grafana/{board.uid}.json").read_text(encoding="utf-8"))["panels"]
        charts = [panel for panel in on_grafana if panel["type"] != "row"]
        assert len(charts) == len(board.panels)
        for panel, chart in zip(board.panels, charts, strict=True):
            asked = [query["expr"] for query in shown[panel.key]["queries"]]
            assert asked == [target["expr"] for target in chart["targets"]]
            assert shown[panel.key]["title"]["en"] in chart["title"]
    assert len(shown) == sum(len(board.panels) for board in BOARDS)


def test_a_wall_has_room_for_the_first_board():
    rows = page_panels(BOARDS, alerts())["rows"]
    assert sum(len(row["panels"]) for row in rows if not row["detail"]) == 20


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panel_keys_are_unique_and_every_panel_says_what_good_looks_like_in_both_languages(board):
    keys = [panel.key for panel in board.panels]
    assert len(keys) == len(set(keys))
    for panel in board.panels:
        for text in (panel.title, panel.good):
            assert text.en
            assert any("\u4e00" <= character <= "\u9fff" for character in text.zh), panel.key


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_on_grafana_do_not_overlap_and_stay_on_the_grid(board):
    taken = set()
    for panel in dashboard(board)["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_thresholds_colour_the_bad_side():
    panels = {panel["title"]: panel for panel in dashboard(region(Config()))["panels"]}
    steps = {
        title: [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        for title, panel in panels.items()
        if "thresholds" in panel.get("fieldConfig", {}).get("defaults", {})
    }
    assert next(colours for title, colours in steps.items() if "Failed reads" in title)[0] == "green"
    assert next(colours for title, colours in steps.items() if "Free room" in title)[0] == "red"


def test_boards_ask_for_the_chosen_site_and_rules_for_every_site():
    text = render()
    assert "$site" in text["grafana/pacs-region.json"]
    assert "$site" not in text["rules/centre/pacs.yaml"] + text["rules/branch/pacs.yaml"]


def test_the_page_asks_nobody_but_its_own_origin():
    pages = read_pages(OUT.parent / "page", OUT / "page")
    assert set(pages) == {
        "index.html", "icon.svg", "page.css", "page.js", "chart.js", "texts.js", "panels.json",
    }  # fmt: skip
    for name, text in pages.items():
        addresses = set(re.findall(r"https?:[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, name
    assert "style=" not in pages["index.html"], "inline styles are refused by the gateway's CSP"
