"""Renders nginx's configuration; the answer is the content of one ConfigMap.

The template holds the structure, `problems.py` the texts, the Lua files what nginx has no directive for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.gateway.problems import PROBLEMS
from services.gateway.settings import GatewaySettings

_HERE = Path(__file__).parent
_LUA_FILES = (
    "client_identity.lua",
    "parts.lua",
    "reading.lua",
    "series_maps.lua",
    "site_series.lua",
    "traffic.lua",
)


def render(settings: GatewaySettings) -> dict[str, str]:
    """File name -> content of all that nginx reads from `settings.configuration`; same input, same text."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - nginx syntax; every value is typed by GatewaySettings
    )
    environment.filters["nginx_text"] = _nginx_text
    identity = (
        f"^spiffe://{re.escape(settings.domain)}"
        "/institution/([a-z0-9][a-z0-9-]{0,62})/site/([a-z0-9][a-z0-9-]{0,62})\\z"
    )
    refused = [f"{entry.institution}/{entry.site}" for entry in settings.refused_sites]
    text = environment.get_template("nginx.conf.j2").render(
        s=settings, problems=PROBLEMS, identity=identity, refused=refused
    )
    return {"nginx.conf": text} | {name: (_HERE / name).read_text(encoding="utf-8") for name in _LUA_FILES}


def _nginx_text(document: dict[str, object]) -> str:
    """A JSON document as a single-quoted nginx string; `$` would start a variable and has no escape."""
    text = json.dumps(document, ensure_ascii=False)
    if "$" in text.replace("$ssl_client_verify", ""):
        raise ValueError(f"a problem text must not contain '$': {text}")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
