"""A release's database and bucket under this version: restored, brought to the present schema, read, and rebuilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.packs.instance import scan
from tests.fixtures.release import Release, answered, releases
from tests.integration.archive_process import ArchiveProcess
from tests.integration.postgres import PostgresServer, postgres
from tests.integration.test_archive_end_to_end import eventually, parts
from tests.services.archive.tokens import Issuer

__all__ = ["postgres"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# Made anew by whoever enters a row: numbers that only this database uses, and the moments of entering.
OWN = ["id", "study", "series", "patient", "committed_at", "created_at", "found_at"]
# Receipts are left out: the centre signs them anew in its present epoch.
ROWS = {
    "pack": "SELECT to_jsonb(t) - %(own)s::text[] FROM pack t",
    "patient": "SELECT to_jsonb(t) - %(own)s::text[] FROM patient t",
    "study": """SELECT to_jsonb(t) - %(own)s::text[] || jsonb_build_object('has_patient', patient IS NOT NULL) FROM study t""",
    "series": """SELECT to_jsonb(t) - %(own)s::text[] || jsonb_build_object('study', s.study_uid, 'owner', s.institution)
        FROM series t JOIN study s ON s.id = t.study""",
    "instance": """SELECT to_jsonb(t) - %(own)s::text[] || jsonb_build_object('study', s.study_uid, 'series', r.series_uid)
        FROM instance t JOIN study s ON s.id = t.study JOIN series r ON r.id = t.series""",
    "conflict": """SELECT to_jsonb(t) - %(own)s::text[] || jsonb_build_object('study', s.study_uid)
        FROM conflict t JOIN study s ON s.id = t.study""",
}


@pytest.fixture(params=releases(), ids=lambda release: release.directory.name)
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


@pytest.fixture
def restored(release: Release, postgres: PostgresServer) -> str:
    """The DSN of a database into which the release's dump was played."""
    dsn = postgres.new_database()
    with psycopg.connect(dsn) as connection:
        connection.execute(release.dump_file.read_bytes())
    return dsn


@pytest.fixture
def archive(release: Release, restored: str, tmp_path: Path) -> Iterator[ArchiveProcess]:
    """This version's archive over the release's bucket and database, the schema brought up to date."""
    for folder in release.bucket:
        shutil.copytree(folder, tmp_path / folder.name)
    process = ArchiveProcess(
        tmp_path, restored, Issuer(), PACS_SITE="centre", PACS_STORE_DIRECTORY=str(tmp_path)
    )
    process.run("migrate")
    yield process
    process.close()


def says_no_less(now: Any, then: Any) -> bool:
    """A later version may add attributes to an answer; what the release said must still be in it, as it was."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and says_no_less(now[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(says_no_less, now, then))
    return bool(now == then)


def test_every_search_is_answered_as_the_release_answered_it(
    archive: ArchiveProcess, release: Release
) -> None:
    archive.start()
    eventually(lambda: archive.get("/readyz").status_code == 200, archive, "readiness")
    assert len(release.answers) > 40
    for path, then in release.answers.items():
        now = answered(archive, path)
        assert says_no_less(now, then), f"{path} answered {json.dumps(now, ensure_ascii=False)[:2000]}"


def test_every_instance_is_read_back_with_the_digest_that_the_list_names(
    archive: ArchiveProcess, release: Release, restored: str
) -> None:
    archive.start()
    with psycopg.connect(restored) as connection:
        # Without a digest: of every version there is.
        tombstones = set(
            connection.execute("SELECT institution, sop_instance_uid, digest FROM tombstone").fetchall()
        )
        conflicts = set(
            connection.execute("SELECT institution, sop_instance_uid, digest FROM conflict").fetchall()
        )
    assert (len(tombstones), len(conflicts)) == (1, 1)
    for pack in release.listed:
        bearer = archive.issuer.bearer(institutions=[pack["institution"]])
        for one in pack["instances"]:
            name = (pack["institution"], one["sop_instance_uid"], one["digest"])
            path = f"/dicom-web/studies/{pack['study_uid']}/series/{one['series_uid']}/instances/{name[1]}"
            if name in conflicts:
                path += f"/versions/{one['digest']}"
            kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            accept = "application/dicom; transfer-syntax=*" if name in conflicts else kind
            answer = archive.get(path, Accept=accept, **bearer)
            if {name, (*name[:2], "")} & tombstones:
                assert answer.status_code == 404
                continue
            assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
            body = answer.content if name in conflicts else parts(answer)[0]
            found = scan(body)
            assert (found.digest, found.length, found.transfer_syntax) == (
                one["digest"], one["length"], one["transfer_syntax"],
            )  # fmt: skip


def test_the_packs_alone_give_the_rows_of_the_dump(
    archive: ArchiveProcess, release: Release, restored: str, postgres: PostgresServer
) -> None:
    empty = postgres.new_database()
    (archive.directory / "dsn").write_text(empty)
    archive.run("migrate")
    if not release.tombstones:
        copy_tombstones(restored, empty)
    done = json.loads(archive.run("rebuild"))
    assert done == {
        "packs": len(release.packs), "entered": len(release.packs), "damaged": 0,
        "tombstones": len(release.tombstones),
    }  # fmt: skip
    for table, query in ROWS.items():
        then, now = rows(restored, query), rows(empty, query)
        assert then, f"the dump has no row in {table}: it shows nothing"
        assert now == then, table


def rows(dsn: str, query: str) -> list[Any]:
    with psycopg.connect(dsn) as connection:
        found = [row[0] for row in connection.execute(query.encode(), {"own": OWN})]
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def copy_tombstones(source: str, target: str) -> None:
    """Before they were objects in the bucket, tombstones were rows alone: a rebuild is given them."""
    with psycopg.connect(source) as old, psycopg.connect(target) as new:
        rows = old.execute(
            "SELECT institution, site, sop_instance_uid, digest, reason, deleted_by, deleted_at FROM tombstone"
        ).fetchall()
        for row in rows:
            new.execute("INSERT INTO tombstone VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
