"""Index against bucket with the real program on real PostgreSQL: each difference is found, and an index made anew
from objects alone answers as before."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.archive_process import ArchiveProcess
from tests.integration.postgres import PostgresServer, database, postgres
from tests.integration.test_archive_end_to_end import eventually, send, stored
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

QUESTIONS = (
    "/studies?includefield=all", "/series?includefield=all", "/instances?includefield=all",
    "/studies?PatientID=P2", "/instances?Modality=MR", "/studies/1.2.3/series", "/studies/1.2.3/conflicts",
    "/studies/1.2.3/metadata", "/studies/5.5/metadata",
)  # fmt: skip


def chore(archive: ArchiveProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command of the archive's program; its exit status and the document it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "services.archive", *arguments],
        env={**os.environ, **archive.environment}, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout, done.stderr[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def check(archive: ArchiveProcess) -> tuple[int, list[tuple[str, str]]]:
    """A full check without grace: its exit status, and kind and key of each difference."""
    status, document = chore(archive, "check", "--full", "--restart", "--grace-seconds", "0")
    return status, [(one["kind"], one["key"]) for one in document["differences"]]


def delete(archive: ArchiveProcess, path: str, **body: str) -> httpx.Response:
    return httpx.request(
        "DELETE", archive.url("/dicom-web" + path), json={"reason": "test", "institution": "yanan"} | body,
        headers=archive.issuer.bearer(scope="dicomweb:delete"), timeout=30,
    )  # fmt: skip


def answers(archive: ArchiveProcess) -> dict[str, Any]:
    """What the archive says to every question, its own address left out."""
    found: dict[str, Any] = {}
    for path in QUESTIONS:
        answer = archive.get("/dicom-web" + path)
        found[path] = (answer.status_code, answer.text.replace(archive.url(), ""))
    return found


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    """Three studies, one of them with a second version of an instance; two series with deletions."""
    process = ArchiveProcess(tmp_path, database, Issuer())
    process.start()
    send(
        process,
        synthetic("1.1"),
        synthetic("1.2", InstanceNumber=2),
        synthetic("2.1", series="1.2.3.2", Modality="MR"),
    )
    eventually(lambda: stored(process, "1.2.3") == 3, process, "the first study")
    send(process, synthetic("1.1", pixels=bytes(32)))
    eventually(
        lambda: len(process.get("/dicom-web/studies/1.2.3/conflicts").json()) == 1, process, "the version"
    )
    send(process, synthetic("5.1", study="5.5", series="5.5.1", PatientID="P2"))
    send(
        process, synthetic("6.1", study="6.6", series="6.6.1"), synthetic("6.2", study="6.6", series="6.6.1")
    )
    eventually(lambda: stored(process, "5.5") == 1 and stored(process, "6.6") == 2, process, "all studies")
    yield process
    process.close()


def packs(archive: ArchiveProcess) -> list[Path]:
    return sorted((archive.directory / "store" / "packs").rglob("*.pack"))


def key_of(archive: ArchiveProcess, path: Path) -> str:
    return path.relative_to(archive.directory / "store").as_posix()


def test_an_index_dropped_and_rebuilt_answers_every_query_as_before(
    archive: ArchiveProcess, postgres: PostgresServer
) -> None:
    assert delete(archive, "/studies/1.2.3/series/1.2.3.1/instances/1.2").status_code == 200
    assert delete(archive, "/studies/6.6", code="113037").status_code == 200
    send(archive, synthetic("1.2", InstanceNumber=2), synthetic("6.1", study="6.6", series="6.6.1"))
    eventually(lambda: stored(archive, "1.2.3") == 3, archive, "what was sent again")
    before = answers(archive)
    assert stored(archive, "6.6") == 0
    archive.stop()
    (archive.directory / "dsn").write_text(postgres.new_database())
    status, document = chore(archive, "rebuild")
    assert (status, document["damaged"], document["tombstones"]) == (0, 0, 2)
    assert document["entered"] == document["packs"] == len(packs(archive))
    assert check(archive) == (0, [])
    archive.start()
    eventually(lambda: archive.get("/readyz").status_code == 200, archive, "readiness")
    assert answers(archive) == before


def test_index_and_bucket_in_order_give_no_difference(archive: ArchiveProcess) -> None:
    delete(archive, "/studies/5.5")
    assert check(archive) == (0, [])


def test_a_flipped_byte_is_found(archive: ArchiveProcess) -> None:
    path = packs(archive)[0]
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert check(archive) == (1, [("altered-bytes", key_of(archive, path))])


def test_a_missing_object_is_found(archive: ArchiveProcess) -> None:
    path = packs(archive)[1]
    path.unlink()
    assert check(archive) == (1, [("missing-object", key_of(archive, path))])


def test_a_row_without_its_bytes_is_found(archive: ArchiveProcess, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("""UPDATE instance SET "offset" = "offset" + 2 WHERE sop_instance_uid = '5.1'""")
    status, found = check(archive)
    assert (status, [kind for kind, _ in found]) == (1, ["misplaced-instance"])


def test_an_object_without_its_row_is_found_and_a_rebuild_enters_it(
    archive: ArchiveProcess, database: str
) -> None:
    before = answers(archive)
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE pack, study, patient CASCADE")
    status, found = check(archive)
    assert status == 1
    assert found == [("missing-row", key_of(archive, path)) for path in packs(archive)]
    assert chore(archive, "rebuild")[0] == 0
    assert check(archive) == (0, [])
    assert answers(archive) == before


def test_a_tombstone_that_lost_its_row_or_its_object_is_found(archive: ArchiveProcess, database: str) -> None:
    delete(archive, "/studies/5.5")
    [path] = (archive.directory / "store" / "tombstones").rglob("*.json")
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM tombstone")
    assert check(archive) == (1, [("tombstone-without-row", key_of(archive, path))])
    assert chore(archive, "rebuild")[1]["tombstones"] == 1
    path.unlink()
    assert check(archive) == (1, [("missing-tombstone", key_of(archive, path))])


def test_what_the_last_check_found_is_a_figure_of_the_archive(archive: ArchiveProcess) -> None:
    packs(archive)[1].unlink()
    check(archive)
    text = archive.get("/metrics", listener="internal").text
    assert "pacs_archive_check_differences 1.0" in text
    status, document = chore(archive, "check", "--sample", "0")
    assert (status, document["digested"]) == (1, 0)
