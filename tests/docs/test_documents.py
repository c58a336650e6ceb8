"""What the documents name exists: paths, links, verbs of the command, exit codes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cli.exit_codes import MEANINGS
from cli.main import VERBS
from toolchain.paths import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FOLDERS = "bench|cli|dashboards|docs|infra|load_tests|playbooks|roles|services|stacks|tests|toolchain"
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"^(?:(?:{FOLDERS})/[^\s:<>*]*|pacs|Pulumi\.yaml|pyproject\.toml|requirements\.lock)$")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
SOURCES = sorted(
    path
    for folder in ("cli", "toolchain", "roles", "stacks", "infra", "playbooks")
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in {".py", ".yml", ".yaml", ".j2"}
)
NAMED_FILE = re.compile(rf"(?<![\w./{{}}-])((?:{FOLDERS})/[\w./-]+\.(?:md|yml|yaml|json|py|txt))\b")
COMMAND = re.compile(r"\./pacs(?: +([a-z]+))?")


def names(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_path_that_is_named_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = [code for code in CODE.findall(text) if PATH.match(code)]
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_command_is_a_verb(document: Path) -> None:
    found = {verb for verb in COMMAND.findall(document.read_text(encoding="utf-8")) if verb}
    assert found - set(VERBS) - set(PROSE) == set()


# `./pacs` followed by a word of the sentence.
PROSE = ("changes", "verb", "started", "starts", "with", "is", "left")


def texts(source: Path) -> str:
    """What of a source file a person may be shown: the literals of Python, all of the others."""
    text = source.read_text(encoding="utf-8")
    if source.suffix != ".py":
        return text
    constants = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return "\n".join(node.value for node in constants if isinstance(node.value, str))


@pytest.mark.parametrize("source", SOURCES, ids=names)
def test_every_path_and_verb_that_the_program_tells_of_exists(source: Path) -> None:
    shown = texts(source)
    assert [
        path for path in NAMED_FILE.findall(shown) if "NAME" not in path and not (REPOSITORY / path).exists()
    ] == []
    assert {verb for verb in COMMAND.findall(shown) if verb} - set(VERBS) - set(PROSE) == set()


def test_the_readme_tells_every_verb_and_exit_code() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f"./pacs {verb}" not in text] == []
    assert [code for code in MEANINGS if not re.search(rf"\b{int(code)} ", text)] == []


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    script = (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    assert re.search(r"^\./pacs test", script, re.MULTILINE)
    assert "trap" in script
    assert "./pacs down" in script


def test_every_requirement_is_in_the_table_once() -> None:
    text = (REPOSITORY / "docs/requirements.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (M-\d\d) ", text, re.MULTILINE) == [f"M-{number:02}" for number in range(1, 36)]


def test_what_is_claimed_names_its_proof() -> None:
    rows = re.findall(
        r"^\| (M-\d\d) \|[^|]*\| (\w+) \|[^|]*\|([^|]*)\|$",
        (REPOSITORY / "docs/requirements.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [id_ for id_, state, proof in rows if state != "planned" and not proof.strip()] == []


def test_decisions_are_numbered_and_have_a_state() -> None:
    for decision in sorted((REPOSITORY / "docs/adr").glob("*.md")):
        text = decision.read_text(encoding="utf-8")
        number = decision.name.split("-")[0]
        assert text.startswith(f"# ADR-{number}: "), decision.name
        assert re.search(r"^\**Status:?\**:? ", text, re.MULTILINE), decision.name
