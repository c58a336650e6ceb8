"""`python -m dashboards.build`: write everything under out/; `--check` only says whether it is current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from dashboards.boards.flow import flow
from dashboards.boards.region import region
from dashboards.config import Config
from dashboards.grafana import dashboard
from dashboards.model import Board
from dashboards.page_panels import page_panels
from dashboards.rules import objectives
from dashboards.rules.alerts import branch_alerts, platform_alerts, storing_alerts
from dashboards.rules.model import Alert, rule_file

HERE = Path(__file__).parent
OUT = HERE / "out"
_PAGE_SOURCES = ("index.html", "icon.svg", "page.css", "page.js", "chart.js", "texts.js")


def boards() -> list[Board]:
    return [region(Config()), flow(Config())]


def alerts() -> list[Alert]:
    config = Config.for_rules()
    return [
        *objectives.alerts(config),
        *branch_alerts(config),
        *storing_alerts(config),
        *platform_alerts(config),
    ]


def render() -> dict[str, str]:
    """Path below out/ -> content. Same source, same text."""
    config = Config.for_rules()
    rules = rule_file(
        {
            "pacs-objectives-recorded": objectives.recordings(config),
            "pacs-objectives": objectives.alerts(config),
            "pacs-branches": branch_alerts(config),
            "pacs-storing": storing_alerts(config),
            "pacs-platform": platform_alerts(config),
        }
    )
    files = {"rules/pacs.yaml": yaml.safe_dump(rules, sort_keys=False, allow_unicode=True, width=110)}
    for board in boards():
        files[f"grafana/{board.uid}.json"] = _json(dashboard(board))
    files["page/panels.json"] = _json(page_panels(boards(), alerts()))
    for name in _PAGE_SOURCES:
        files[f"page/{name}"] = (HERE / "page" / name).read_text(encoding="utf-8")
    return files


def stale(out: Path = OUT) -> list[str]:
    """Paths below `out` that are missing, differ from their source, or have none."""
    wanted = render()
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    differing = [
        name for name, text in wanted.items() if name in found and found[name].read_text("utf-8") != text
    ]
    return sorted({*differing, *(set(wanted) ^ set(found))})


def write(out: Path = OUT) -> None:
    wanted = render()
    for path in [path for path in out.rglob("*") if path.is_file()]:
        if str(path.relative_to(out)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if old := stale():
            sys.exit(f"not current: {', '.join(old)}; run: python -m dashboards.build")
    else:
        write()
