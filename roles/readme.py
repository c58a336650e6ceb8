"""`python -m roles.readme` writes the table of variables in each role's README.md from its argument_specs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent
_TABLE = re.compile(r"(?<=<!-- variables -->\n).*?(?=<!-- end of variables -->)", re.DOTALL)


def roles() -> list[Path]:
    """The folders of all roles."""
    return sorted(path.parent for path in ROLES.glob("*/tasks"))


def table(role: Path) -> str:
    """A Markdown table of what the role takes: name, type, required or default, meaning."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    rows = _rows(specs["argument_specs"]["main"]["options"])
    return "\n".join(["| variable | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def written(role: Path) -> str:
    """The role's README with its table as it must be."""
    text = (role / "README.md").read_text(encoding="utf-8")
    return _TABLE.sub(lambda _: table(role), text)


def _rows(options: Mapping[str, Any], inside: str = "") -> Iterator[str]:
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        default = (
            "required"
            if option.get("required")
            else f"`{_plain(option['default'])}`"
            if "default" in option
            else ""
        )
        text = (
            " ".join(option["description"])
            if isinstance(option["description"], list)
            else option["description"]
        )
        meaning = re.sub(r"C\(([^)]*)\)", r"`\1`", text).replace("|", "\\|")
        if "choices" in option:
            meaning += f" One of {', '.join(option['choices'])}."
        yield f"| `{inside}{name}` | {kind} | {default} | {meaning} |"
        yield from _rows(option.get("options", {}), f"{inside}{name}[].")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'


def main() -> None:
    """Write every README."""
    for role in roles():
        if (role / "README.md").exists():
            (role / "README.md").write_text(written(role), encoding="utf-8")


if __name__ == "__main__":
    main()
