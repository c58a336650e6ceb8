"""docs/errors.md: every situation that the platform promises to explain has a row, and each row a test that says so."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest

from toolchain.paths import REPOSITORY

SITUATIONS = (
    "not root", "too little memory", "too little disk", "a taken port", "a missing registry",
    "an unknown key in a stack file", "an ill-typed key in a stack file", "overlapping networks",
    "duplicate AE titles", "a corrupt download", "a wrong called AE title", "a request without a token",
    "a file that is not DICOM", "a UID with `../` in it", "a full disk at the branch",
)  # fmt: skip


class Row(NamedTuple):
    situation: str
    seen: str
    test: str


def rows() -> list[Row]:
    text = (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8")
    return [
        Row(*found) for found in re.findall(r"^\| (.+?) \| (.+) \| `(tests/.+?)` \|$", text, re.MULTILINE)
    ]


def test_every_line_of_the_table_is_read() -> None:
    text = (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8")
    assert len(rows()) == len(re.findall(r"^\| ", text, re.MULTILINE)) - 1


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_promised_situation_has_a_row(situation: str) -> None:
    assert [row for row in rows() if row.situation.startswith(situation)] != []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.situation)
def test_the_test_of_a_row_exists_and_asks_for_the_words_that_the_row_quotes(row: Row) -> None:
    path, _, name = row.test.partition("::")
    source = (REPOSITORY / path).read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    # Adjacent pieces of a literal are one constant in the tree; an f-string keeps its fixed pieces.
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    quoted = [
        words
        for words in re.findall(r"`([^`]+)`", row.seen)
        if " " in words and not words.startswith("./pacs")
    ]
    assert [words for words in quoted if not any(words in text for text in texts)] == []
