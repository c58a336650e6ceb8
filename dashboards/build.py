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
from dashboards.rules.alerts import branch_alerts, centre_alerts, host_alerts, storing_alerts
from dashboards.rules.model import Alert, Recording, rule_file

OUT = Path(__file__).parent / "out"


def boards() -> list[Board]:
    return [region(Config()), flow(Config())]


def alerts() -> list[Alert]:
    """Every alert there is; the centre evaluates them all."""
    return [rule for group in centre_rules().values() for rule in group if isinstance(rule, Alert)]


def centre_rules() -> dict[str, list[Recording] | list[Alert]]:
    """Rule groups of the centre's Prometheus, which has the figures of every site."""
    config = Config.for_rules()
    return {
        "pacs-objectives-recorded": objectives.recordings(config),
        "pacs-objectives": objectives.alerts(config),
        **branch_rules(),
        "pacs-centre": centre_alerts(config),
    }


def branch_rules() -> dict[str, list[Recording] | list[Alert]]:
    """Rule groups of a branch's own Prometheus: what it can say of itself while its line is cut."""
    config = Config.for_rules()
    return {
        "pacs-branches": branch_alerts(config),
        "pacs-storing": storing_alerts(config),
        "pacs-hosts": host_alerts(config),
    }


def expressions() -> list[str]:
    """Every PromQL expression of every rule and panel."""
    rules = [rule.expr for group in centre_rules().values() for rule in group]
    return rules + [query.expr for board in boards() for panel in board.panels for query in panel.queries]


def render() -> dict[str, str]:
    """Path below out/ -> content. Same source, same text."""
    files = {
        "rules/centre/pacs.yaml": _yaml(rule_file(centre_rules())),
        "rules/branch/pacs.yaml": _yaml(rule_file(branch_rules())),
        "page/panels.json": _json(page_panels(boards(), alerts())),
    }
    for board in boards():
        files[f"grafana/{board.uid}.json"] = _json(dashboard(board))
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


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if old := stale():
            sys.exit(f"not current: {', '.join(old)}; run: python -m dashboards.build")
    else:
        write()
