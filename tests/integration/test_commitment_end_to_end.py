"""Storage commitment by the archive as it runs: told over the same association, and after a restart in the middle."""

import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pynetdicom import AE, Association

from services.archive.dimse.commitment import SOP_CLASS, SOP_INSTANCE
from services.common import requestor
from tests.integration.archive_process import ArchiveProcess
from tests.integration.postgres import database, postgres
from tests.integration.test_archive_end_to_end import send
from tests.services.archive.dimse.test_commitment import TRANSACTION, Reports, action, taking
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer
from tests.waiting import wait_for

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(tmp_path, database, Issuer())
    process.start()
    wait_for(lambda: process.get("/readyz").status_code == 200, 60, "readiness")
    yield process
    process.close()


def associate(archive: ArchiveProcess, reports: Reports) -> Association:
    ae = AE("MODALITY")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    ae.add_requested_context(SOP_CLASS)
    association = requestor.associate(
        ae, "127.0.0.1", archive.ports["dimse"], ae_title="PACS", evt_handlers=taking(reports)
    )
    assert association.is_established
    return association


def test_a_modality_that_stored_and_asked_is_told_on_its_association(archive: ArchiveProcess) -> None:
    send(archive, *(synthetic(f"1.2.3.1.{n}") for n in range(5)))
    reports: Reports = queue.Queue()
    association = associate(archive, reports)
    status, _ = association.send_n_action(action("1.2.3.1.0", "1.2.3.1.4", "9.9"), 1, SOP_CLASS, SOP_INSTANCE)
    assert status.Status == 0x0000
    kind, event = reports.get(timeout=60)
    association.release()
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in event.ReferencedSOPSequence] == [
        "1.2.3.1.0",
        "1.2.3.1.4",
    ]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in event.FailedSOPSequence] == [
        ("9.9", 0x0112)
    ]


def test_a_request_outlives_the_archive_and_is_told_to_whoever_asks_again(
    archive: ArchiveProcess, database: str
) -> None:
    def row() -> tuple[str, int]:
        with psycopg.connect(database) as connection:
            found = connection.execute("SELECT state, attempts FROM storage_commitment").fetchone()
        assert found is not None
        return found[0], found[1]

    send(archive, synthetic("1.2.3.1.1"))
    reports: Reports = queue.Queue()
    association = associate(archive, reports)
    # An instance that is not there yet keeps the request waiting.
    assert (
        association.send_n_action(action("1.2.3.1.1", "1.2.3.1.2"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status
        == 0x0000
    )
    archive.stop(signal.SIGKILL)
    assert row()[0] == "WAITING"
    archive.start()
    wait_for(lambda: archive.get("/readyz").status_code == 200, 60, "readiness")
    # Taken up by the new process: it judges, and finds nobody to tell.
    wait_for(lambda: row()[1] >= 1, 60, "an attempt to report after the restart")
    assert row()[0] == "WAITING"
    send(archive, synthetic("1.2.3.1.2"))
    again = associate(archive, reports)
    assert (
        again.send_n_action(action("1.2.3.1.1", "1.2.3.1.2"), 1, SOP_CLASS, SOP_INSTANCE)[0].Status == 0x0000
    )
    kind, event = reports.get(timeout=60)
    again.release()
    assert (kind, event.TransactionUID) == (1, TRANSACTION)
    wait_for(lambda: row()[0] == "REPORTED", 30, "the row of a request that was reported")
