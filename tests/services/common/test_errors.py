"""An error of ours says what to do: nobody may raise one without an action."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import services
from services.common.errors import PacsError

SOURCES = sorted(Path(services.__path__[0]).rglob("*.py"))


def classes() -> dict[str, ast.ClassDef]:
    trees = (ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES)
    return {node.name: node for tree in trees for node in tree if isinstance(node, ast.ClassDef)}


def without_an_action_of_their_own(known: dict[str, ast.ClassDef]) -> set[str]:
    """Errors that say what to do only when they are told: none on the way to `PacsError` has its own `__init__`."""

    def plain(name: str) -> bool:
        if name == PacsError.__name__:
            return True
        node = known.get(name)
        if node is None or any(
            isinstance(one, ast.FunctionDef) and one.name == "__init__" for one in node.body
        ):
            return False
        return any(plain(base.id) for base in node.bases if isinstance(base, ast.Name))

    return {name for name in known if plain(name)}


def speechless() -> Iterator[str]:
    names = without_an_action_of_their_own(classes())
    assert {"NoRoom", "IndexUnavailable", "IdentityError"} <= names
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            ours = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
            if ours and not any(keyword.arg == "action" for keyword in node.keywords):
                yield f"{path.name}:{node.lineno} {node.func.id}"


def test_every_error_that_is_raised_says_what_to_do() -> None:
    assert list(speechless()) == []
