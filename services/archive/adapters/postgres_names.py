"""Fuzzy matching of names in two steps, because PostgreSQL cannot guess how many names have a word that begins so.

Where few studies fit, the word index names them. Where many do, the newest are looked through in the order of the
answers, and the first page is soon full. One statement would take the wrong way for one of the two.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from services.archive.adapters.postgres_connections import Cursor
from services.archive.index.query import Condition, NameWords, Query

FEW = 1000
"""So many studies are looked up by their row numbers."""

Named = Mapping[Condition, list[int]]
"""The studies, by row number, that fit a condition which few studies fit."""


def few_named(cursor: Cursor, query: Query) -> Named:
    """For each fuzzy condition of `query` which studies fit it, where these are at most `FEW`."""
    found: dict[Condition, list[int]] = {}
    for condition in query.conditions:
        if isinstance(condition.matcher, NameWords):
            cursor.execute(
                sql.SQL("SELECT id FROM study WHERE {} @@ %s::tsquery LIMIT %s").format(words_of(condition)),
                (words_query(condition.matcher.words), FEW + 1),
            )
            ids = [row[0] for row in cursor]
            if len(ids) <= FEW:
                found[condition] = ids
    return found


def words_of(condition: Condition) -> sql.Identifier:
    """The column with the words of the condition's name."""
    return sql.Identifier(f"{condition.key.column}_words")


def words_query(words: Sequence[str]) -> str:
    r"""Beginnings of words as a tsquery: each stands in quotes, where only `'` and `\` mean something."""
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in words)
    return " & ".join(f"'{word}':*" for word in quoted)
