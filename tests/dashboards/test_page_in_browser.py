"""The page in a real browser, against a small server that answers as gateway and Prometheus do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards.build import OUT, boards
from tests.page_server import PageHandler, serving_pages

pytestmark = pytest.mark.integration

TOKEN = "for-this-test"
# sessionStorage cannot be set from outside; this page of the test does it and goes on.
START = b'<!doctype html><script src="start.js"></script>'


@dataclass
class Centre:
    """What the server answers. `value` is every sample; `labels` those of the one series of each query."""

    value: str = "0"
    labels: dict[str, str] | None = None
    alerts: tuple[dict[str, object], ...] = ()
    broken: bool = False

    def answer(self, path: str, query: dict[str, list[str]]) -> object:
        if path.endswith("/alerts"):
            return {"alerts": list(self.alerts)}
        if path.endswith("/label/site/values"):
            return ["dc", "yanchang"]
        start, end, step = (float(query[key][0]) for key in ("start", "end", "step"))
        points = [[start + index * step, self.value] for index in range(int((end - start) / step) + 1)]
        return {
            "resultType": "matrix",
            "result": [{"metric": self.labels or {"site": "dc"}, "values": points}],
        }


@contextmanager
def serving(centre: Centre, token: str) -> Iterator[str]:
    class Handler(PageHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(OUT.parent / "page"))

        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
            super().end_headers()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path.startswith("/ops/prometheus/"):
                return self.reply(url.path, parse_qs(url.query))
            if url.path == "/ops/start.html":
                return self.send(200, "text/html", START)
            if url.path == "/ops/start.js":
                script = (
                    f"sessionStorage.setItem('token', {token!r}); location.replace('index.html?lang=en');"
                )
                return self.send(200, "text/javascript", script.encode())
            if url.path == "/ops/panels.json":
                return self.send(200, "application/json", (OUT / "page/panels.json").read_bytes())
            self.path = url.path.removeprefix("/ops")
            return super().do_GET()

        def reply(self, path: str, query: dict[str, list[str]]) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.send(401, "application/problem+json", b"{}")
            if centre.broken:
                return self.send(503, "application/problem+json", b"{}")
            data = {"status": "success", "data": centre.answer(path, query)}
            return self.send(200, "application/json", json.dumps(data).encode())

    with serving_pages(Handler) as address:
        yield f"{address}/ops/start.html"


@pytest.fixture
def open_page(tmp_path):
    """The DOM after the page has drawn itself."""
    browser = shutil.which("chromium")
    assert browser, "apt-get install --no-install-recommends chromium"

    def open_page(centre: Centre, token: str = TOKEN) -> str:
        with serving(centre, token) as url:
            result = subprocess.run(
                [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
                 "--virtual-time-budget=8000", "--window-size=1400,900", "--dump-dom", url],
                capture_output=True, text=True, timeout=90, check=True,
            )  # fmt: skip
        return result.stdout

    return open_page


def test_every_panel_is_drawn_with_its_value_and_its_sentence(open_page):
    dom = open_page(Centre(value="0.5"))
    for board in boards():
        for panel in board.panels:
            card = re.search(rf'id="panel-{panel.key}".*?</article>', dom, re.DOTALL)[0]
            assert "<path" in card, panel.key
            assert "Good:" in card
    assert "No alert at present" in dom
    assert re.search(r'id="door"[^>]*hidden', dom)


def test_a_value_beyond_its_limit_is_said_in_words(open_page):
    card = re.search(r'id="panel-read-errors".*?</article>', open_page(Centre(value="0.5")), re.DOTALL)[0]
    assert 'data-state="critical"' in card
    assert "act" in card
    assert "50 %" in card


def test_a_firing_alert_stands_on_top_with_its_runbook_and_a_pending_one_does_not(open_page):
    alert = {
        "state": "firing",
        "activeAt": "2026-01-02T03:04:05Z",
        "labels": {"alertname": "DiskFull", "severity": "page"},
        "annotations": {"summary": "3 % free", "runbook": "docs/runbooks/DiskFull.md"},
    }
    pending = {**alert, "state": "pending", "labels": {"alertname": "ReadsSlow", "severity": "page"}}
    strip = re.search(
        r'<section id="alerts".*?</section>', open_page(Centre(alerts=(alert, pending))), re.DOTALL
    )[0]
    assert "urgent · DiskFull" in strip
    assert "docs/runbooks/DiskFull.md" in strip
    assert "ReadsSlow" not in strip


def test_labels_are_text_and_never_markup(open_page):
    hostile = "<img src=x onerror=alert(1)>"
    dom = open_page(Centre(labels={"site": hostile}))
    assert hostile not in dom
    assert "&lt;img src=x" in dom


def test_a_wrong_token_leads_back_to_the_door_with_the_reason(open_page):
    dom = open_page(Centre(), token="stolen-and-expired")
    assert "The token is not valid" in dom
    assert re.search(r'<main id="board"[^>]*hidden', dom)


def test_metrics_that_cannot_be_reached_are_said_and_not_shown_as_good(open_page):
    dom = open_page(Centre(broken=True))
    assert "The metrics cannot be reached" in dom
    assert 'class="state ok"' not in dom
