"""A branch whose PostgreSQL is away: what it takes reaches the centre all the same, and its index catches up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.network import free_port
from services.packs.instance import scan
from services.packs.pack import footer_of
from tests.integration.archive_process import ArchiveProcess
from tests.integration.ingest_centre import IngestCentre
from tests.integration.postgres import PostgresServer, database, postgres
from tests.integration.region_door import Door, resolve_locally
from tests.integration.test_archive_end_to_end import eventually, send, stored
from tests.integration.test_forwarding import Branch
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer
from tests.services.edge.branch import ReceiptOffice
from tests.waiting import wait_for

__all__ = ["database", "postgres"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

FIRST, OTHER = synthetic("1.2.3.1.1"), synthetic("1.2.3.1.1", pixels=bytes(32))


class WholeBranch(Branch):
    """Archive and edge of one branch on one directory, as the branch's static pods run them."""

    def __init__(self, door: Door, centre: IngestCentre, root: Path, dsn: str) -> None:
        super().__init__(door, centre, root)
        self.archive = ArchiveProcess(
            root, dsn, Issuer(), PACS_SITE=self.site, PACS_STORE_DIRECTORY=str(root),
            PACS_OUTBOX_DIRECTORY=str(root / "outbox"), PACS_RECEIPTS_DIRECTORY=str(root / "receipts"),
        )  # fmt: skip

    def packs(self) -> set[str]:
        return {path.stem for path in (self.root / "packs").rglob("*.pack")}

    def waits_for_index(self) -> set[str]:
        return {path.stem for path in (self.root / "spool" / "sealed").glob("*.pack")}

    def wait_until_proven(self, *files: bytes) -> None:
        """Every one of these instances lies at the centre, and its receipt here."""
        wanted = {scan(one).digest for one in files}

        def proven() -> bool:
            proofs = [footer for pack, footer in self.centre.packs.items() if pack in self.receipts()]
            return wanted <= {entry.digest for footer in proofs for entry in footer.instances}

        wait_for(proven, 60, "receipts for every instance")
        wait_for(lambda: not self.links(), 10, "the outbox is empty")
        self.sealed = {path.stem: footer_of(path) for path in (self.root / "packs").rglob("*.pack")}
        for pack in self.packs():
            self.proven(pack)


@pytest.fixture
def branch(tmp_path: Path, database: str) -> Iterator[WholeBranch]:
    door = Door(tmp_path, archive_port=free_port(), prometheus_port=1)
    door.ingest_port = free_port()
    centre = IngestCentre(ReceiptOffice(door.secrets), door.server())
    centre.port = door.ingest_port
    with pytest.MonkeyPatch.context() as patch:
        resolve_locally(patch)
        with door.step_ca(), door.gateway(), centre:
            root = door.enrol("yanan", "alone").directory.parent
            made = WholeBranch(door, centre, root, database)
            yield made
            made.archive.close()


def test_packs_leave_and_receipts_come_while_postgresql_is_away_and_the_index_catches_up(
    branch: WholeBranch, postgres: PostgresServer
) -> None:
    archive = branch.archive
    postgres.stop()
    try:
        archive.start()
        with branch.edge():
            send(archive, FIRST)
            branch.wait_until_proven(FIRST)
            send(archive, OTHER, synthetic("1.2.3.1.2"))
            branch.wait_until_proven(FIRST, OTHER)
        assert branch.waits_for_index() == branch.packs(), "rows are still to come for all of them"
    finally:
        postgres.start()
    eventually(lambda: stored(archive, "1.2.3") == 2, archive, "the rows after PostgreSQL came back")
    [conflict] = archive.get("/dicom-web/studies/1.2.3/conflicts").json()
    assert (conflict["digest"], conflict["first_digest"]) == (scan(OTHER).digest, scan(FIRST).digest)
    wait_for(lambda: not branch.waits_for_index(), 20, "nothing waits for the index")
    assert sorted(branch.centre.puts) == sorted(branch.packs()), "each pack was sent once"


@pytest.mark.parametrize("order", ["edge, archive, index", "archive, index, edge", "index, edge, archive"])
def test_killed_and_started_again_in_any_order_nothing_is_sealed_sent_or_entered_twice(
    branch: WholeBranch, postgres: PostgresServer, order: str
) -> None:
    archive, files = branch.archive, [synthetic(f"1.2.3.1.{number}") for number in range(1, 9)]
    postgres.stop()
    running = True
    archive.start()
    send(archive, *files[:4])
    with branch.edge():
        branch.wait_until_proven(*files[:4])
        send(archive, *files[4:])
        archive.stop(signal.SIGKILL)
    try:
        for part in order.split(", "):
            if part == "edge":
                with branch.edge():
                    wait_for(lambda: branch.status()["centre_reachable"], 10, "the line is open")
            elif part == "archive":
                archive.start()
                wait_for(lambda: branch.packs() >= branch.waits_for_index(), 20, "packs are in the store")
            else:
                postgres.start()
                running = False
    finally:
        if running:
            postgres.start()
    with branch.edge():
        branch.wait_until_proven(*files)
    eventually(lambda: stored(archive, "1.2.3") == len(files), archive, "every row")
    wait_for(lambda: not branch.waits_for_index(), 20, "nothing waits for the index")
    assert sorted(branch.centre.packs) == sorted(branch.packs())
    entries = [entry.digest for footer in branch.centre.packs.values() for entry in footer.instances]
    assert sorted(entries) == sorted(scan(one).digest for one in files), "no instance lies in two packs"
    assert archive.get("/dicom-web/studies/1.2.3/conflicts").json() == []
