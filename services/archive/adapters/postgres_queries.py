"""A `Query` as one SQL statement: the page of matching rows first, counts only for that page.

A further page begins behind the last row of the one before (`Position`), so that none counts off what was shown.
Values are always parameters; identifiers come from the table of keys, never from a client.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from services.archive.adapters.postgres_names import Named, words_of, words_query
from services.archive.index.query import (
    Between,
    Condition,
    Kind,
    Level,
    Matcher,
    NameLike,
    NameWords,
    OneOf,
    Query,
    Wildcard,
)
from services.archive.index.records import Match

_ALIAS = {Level.PATIENT: "s", Level.STUDY: "s", Level.SERIES: "r", Level.INSTANCE: "i"}
_GROUPS = ("alphabetic", "ideographic", "phonetic")

_FROM = {
    Level.STUDY: sql.SQL("study s"),
    Level.SERIES: sql.SQL("study s JOIN series r ON r.study = s.id"),
    Level.INSTANCE: sql.SQL("study s JOIN series r ON r.study = s.id JOIN instance i ON i.series = r.id"),
}
_ORDER = {
    Level.STUDY: sql.SQL("s.study_date DESC, s.study_uid, s.institution"),
    Level.SERIES: sql.SQL("s.study_date DESC, s.study_uid, s.institution, r.number NULLS LAST, r.series_uid"),
    Level.INSTANCE: sql.SQL(
        "s.study_date DESC, s.study_uid, s.institution, r.number NULLS LAST, r.series_uid,"
        " i.number NULLS LAST, i.sop_instance_uid"
    ),
}
_LOWER_COLUMNS = {
    Level.STUDY: sql.SQL(
        "NULL::text, NULL::bytea, NULL::integer, NULL::bigint, NULL::text, NULL::bytea, NULL::bigint"
    ),
    Level.SERIES: sql.SQL(
        "r.series_uid, r.attributes, r.instances, r.number, NULL::text, NULL::bytea, NULL::bigint"
    ),
    Level.INSTANCE: sql.SQL(
        "r.series_uid, r.attributes, r.instances, r.number, i.sop_instance_uid, i.dicom_json, i.number"
    ),
}
_STATEMENT = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT row_number() OVER () AS place, found.* FROM (
        SELECT * FROM ({found}) AS parts LIMIT %(limit)s OFFSET %(offset)s
    ) AS found (id, institution, study_uid, study, study_date, series_uid, series, series_instances, series_number,
        sop_instance_uid, instance, instance_number)
)
SELECT page.institution, page.study_uid, page.study, counted.modalities, counted.series, counted.instances,
    page.series_uid, page.series, page.series_instances, page.sop_instance_uid, page.instance, NULL::bigint,
    page.study_date, page.series_number, page.instance_number
FROM page CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT modality ORDER BY modality) FILTER (WHERE modality <> ''), '{{}}') AS modalities,
        count(*) AS series, coalesce(sum(instances), 0)::bigint AS instances
    FROM series WHERE study = page.id
) AS counted
ORDER BY page.place
""")
_FOUND = sql.SQL(
    "(SELECT s.id, s.institution, s.study_uid, s.attributes, s.study_date, {lower}"
    " FROM {tables} WHERE {where} ORDER BY {order} LIMIT %(enough)s)"
)
# Which patients first, by the tables' own order; then what is shown of each, and its counts.
_PATIENTS = sql.SQL("""
WITH page AS MATERIALIZED (
    SELECT DISTINCT s.patient FROM study s WHERE {where} AND s.patient > %(after)s
    ORDER BY s.patient LIMIT %(limit)s OFFSET %(offset)s
)
SELECT shown.institution, shown.study_uid, shown.attributes, counted.modalities, counted.series, counted.instances,
    NULL::text, NULL::bytea, NULL::integer, NULL::text, NULL::bytea, counted.studies,
    page.patient, NULL::bigint, NULL::bigint
FROM page CROSS JOIN LATERAL (
    SELECT s.* FROM study s WHERE s.patient = page.patient AND {where} ORDER BY s.study_date DESC, s.study_uid LIMIT 1
) AS shown CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(DISTINCT r.modality ORDER BY r.modality) FILTER (WHERE r.modality <> ''), '{{}}')
        AS modalities, count(DISTINCT s.id) AS studies, count(r.id) AS series,
        coalesce(sum(r.instances), 0)::bigint AS instances
    FROM study s LEFT JOIN series r ON r.study = s.id WHERE s.patient = page.patient
) AS counted
ORDER BY page.patient
""")
_STUDY_PLACE = "(s.study_uid, s.institution) {} (%(after_study)s, %(after_institution)s)"
_SERIES_PLACE = (
    "(r.number IS NULL, coalesce(r.number, 0), r.series_uid)"
    " {} (%(after_series_number)s::bigint IS NULL, coalesce(%(after_series_number)s::bigint, 0), %(after_series)s)"
)
_INSTANCE_PLACE = (
    "(i.number IS NULL, coalesce(i.number, 0), i.sop_instance_uid)"
    " > (%(after_number)s::bigint IS NULL, coalesce(%(after_number)s::bigint, 0), %(after_instance)s)"
)
_SAME_DATE = "s.study_date = %(after_date)s"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: its last answer, and the columns that it was ordered by."""

    match: Match
    date_or_patient: str | int
    series_number: int | None
    instance_number: int | None


def compile_query(
    query: Query, after: Position | None = None, named: Named | None = None
) -> tuple[sql.Composed, dict[str, Any]]:
    """The statement and its parameters; each result row fits `position_of`."""
    parameters: dict[str, Any] = {"limit": query.limit, "offset": query.offset}
    clauses: list[sql.Composable] = []
    if query.institutions is not None:
        parameters["institutions"] = sorted(query.institutions)
        clauses.append(sql.SQL("s.institution = ANY(%(institutions)s)"))
    for number, condition in enumerate(query.conditions):
        clauses.append(_clause(condition, f"c{number}", parameters, named or {}))
    where = sql.SQL(" AND ").join(clauses) if clauses else sql.SQL("true")
    if query.level is Level.PATIENT:
        parameters["after"] = after.date_or_patient if after is not None else 0
        return _PATIENTS.format(where=where), parameters
    parameters["enough"] = query.limit + query.offset
    found = sql.SQL(" UNION ALL ").join(
        _FOUND.format(
            lower=_LOWER_COLUMNS[query.level],
            tables=_FROM[query.level],
            where=sql.SQL("{} AND {}").format(where, behind),
            order=_ORDER[query.level],
        )
        for behind in _behind(query.level, after, parameters)
    )
    return _STATEMENT.format(found=found), parameters


def _behind(level: Level, after: Position | None, parameters: dict[str, Any]) -> list[sql.Composable]:
    """Conditions that part what comes behind a position, nearest first; each keeps an index's order."""
    if after is None:
        return [sql.SQL("true")]
    match = after.match
    parameters |= {
        "after_date": after.date_or_patient, "after_study": match.study_uid,
        "after_institution": match.institution,
        "after_series_number": after.series_number, "after_series": match.series_uid,
        "after_number": after.instance_number, "after_instance": match.sop_instance_uid,
    }  # fmt: skip
    same_study = f"{_SAME_DATE} AND {_STUDY_PLACE.format('=')}"
    parts = {
        Level.INSTANCE: f"{same_study} AND {_SERIES_PLACE.format('=')} AND {_INSTANCE_PLACE}",
        Level.SERIES: f"{same_study} AND {_SERIES_PLACE.format('>')}",
        Level.STUDY: f"{_SAME_DATE} AND {_STUDY_PLACE.format('>')}",
    }
    chosen = [text for one, text in parts.items() if one <= level] + ["s.study_date < %(after_date)s"]
    return [sql.SQL(text) for text in chosen]


def position_of(row: Sequence[Any]) -> Position:
    """A result row as its `Match`, and where it stands."""
    return Position(Match(row[0], row[1], row[2], tuple(row[3]), *row[4:12]), *row[12:])


def _clause(condition: Condition, name: str, parameters: dict[str, Any], named: Named) -> sql.Composable:
    key, matcher = condition.key, condition.matcher
    if key.column == "modalities":
        inner = _compare(sql.SQL("m.modality"), matcher, name, parameters)
        return sql.SQL("EXISTS (SELECT FROM series m WHERE m.study = s.id AND {})").format(inner)
    column = sql.Identifier(_ALIAS[key.level], key.column)
    if key.kind is Kind.TEXTS:
        inner = _compare(sql.SQL("one"), matcher, name, parameters)
        return sql.SQL("EXISTS (SELECT FROM unnest({}) AS one WHERE {})").format(column, inner)
    if isinstance(matcher, NameLike):
        return _name(_ALIAS[key.level], key.column, matcher, name, parameters)
    if isinstance(matcher, NameWords):
        if condition in named:
            parameters[name] = named[condition]
            return sql.SQL("s.id = ANY({})").format(sql.Placeholder(name))
        parameters[name] = words_query(matcher.words)
        # IS TRUE keeps the word index out, which would fetch and sort the many that fit.
        return sql.SQL("(s.{} @@ {}::tsquery) IS TRUE").format(words_of(condition), sql.Placeholder(name))
    return _compare(column, matcher, name, parameters)


def _compare(
    column: sql.Composable,
    matcher: Matcher,
    name: str,
    parameters: dict[str, Any],
) -> sql.Composable:
    value = sql.Placeholder(name)
    match matcher:
        case OneOf(values):
            parameters[name] = list(values)
            kind = sql.SQL("bigint[]" if values and isinstance(values[0], int) else "text[]")
            return sql.SQL("{} = ANY({}::{})").format(column, value, kind)
        case Wildcard(patterns):
            return _any_like(column, patterns, name, parameters)
        case Between(low, high):
            parameters |= {f"{name}_low": low, f"{name}_high": high}
            bounds = [sql.SQL("{} <> ''").format(column)]
            if low:
                bounds.append(sql.SQL("{} >= {}").format(column, sql.Placeholder(f"{name}_low")))
            if high:
                bounds.append(sql.SQL("{} <= {}").format(column, sql.Placeholder(f"{name}_high")))
            return sql.SQL("({})").format(sql.SQL(" AND ").join(bounds))
        case NameLike() | NameWords():
            raise TypeError("a person name matches by its component groups")


def _any_like(
    column: sql.Composable, patterns: Sequence[str], name: str, parameters: dict[str, Any]
) -> sql.Composable:
    # One LIKE a pattern, not LIKE ANY: only a plain LIKE can use the prefix index.
    likes: list[sql.Composable] = []
    for number, pattern in enumerate(patterns):
        parameters[f"{name}_{number}"] = like_pattern(pattern)
        likes.append(sql.SQL("{} LIKE {}").format(column, sql.Placeholder(f"{name}_{number}")))
    return sql.SQL("({})").format(sql.SQL(" OR ").join(likes))


def _name(alias: str, column: str, wanted: NameLike, name: str, parameters: dict[str, Any]) -> sql.Composable:
    columns = [sql.Identifier(alias, f"{column}_{group}") for group in _GROUPS]
    if wanted.any_group:
        clauses = [
            _any_like(one, (wanted.any_group,), f"{name}_{group}", parameters)
            for one, group in zip(columns, _GROUPS, strict=True)
        ]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(clauses))
    patterns = (wanted.alphabetic, wanted.ideographic, wanted.phonetic)
    clauses = [
        _any_like(one, (pattern,), f"{name}_{group}", parameters)
        for one, group, pattern in zip(columns, _GROUPS, patterns, strict=True)
        if pattern
    ]
    return sql.SQL(" AND ").join(clauses) if clauses else sql.SQL("true")


def like_pattern(pattern: str) -> str:
    r"""`*` and `?` as LIKE's `%` and `_`; LIKE's own `%`, `_` and `\` stand for themselves."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")
