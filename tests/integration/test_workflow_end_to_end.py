"""Worklist and MPPS of the archive as it runs: DCMTK's findscu asks, a modality reports, REST orders and reads."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from services.archive.dimse.performed_step import SOP_CLASS as MPPS
from services.common.requestor import associate
from tests.integration.archive_process import ArchiveProcess
from tests.integration.dicom_peers import PROGRAMS
from tests.integration.postgres import database, postgres
from tests.services.archive.dimse.test_workflow import begun, ended
from tests.services.archive.tokens import Issuer
from tests.services.archive.workflow.orders import STEP, document
from tests.waiting import wait_for

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
BASE = "/workflow/v1/institutions/yanan"


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(tmp_path, database, Issuer())
    process.start()
    wait_for(lambda: process.get("/readyz").status_code == 200, 60, "readiness")
    yield process
    process.close()


def call(archive: ArchiveProcess, method: str, path: str, body: Any = None) -> httpx.Response:
    bearer = archive.issuer.bearer(scope="workflow:read workflow:write", institutions=["yanan"])
    return httpx.request(method, archive.url(f"{BASE}{path}"), headers=bearer, json=body, timeout=30)


def findscu(archive: ArchiveProcess, directory: Path, *keys: bytes) -> list[Dataset]:
    """The answers that DCMTK's findscu wrote to files."""
    directory.mkdir()
    # A Python environment with pynetdicom has a program of the same name, which is no stranger.
    program = shutil.which("findscu", path=PROGRAMS)
    if program is None:
        pytest.skip("needs findscu: apt-get install dcmtk")
    options = ["-W", "-aet", "MODALITY", "-aec", "PACS", "-X", "-od", str(directory)]
    arguments: list[str | bytes] = [program, *options]
    for key in keys:
        arguments += ["-k", key]
    done = subprocess.run(
        [*arguments, "127.0.0.1", str(archive.ports["dimse"])],
        check=False, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return [dcmread(path, force=True) for path in sorted(directory.iterdir())]


@pytest.mark.parametrize(("character_set", "codec"), [("GB18030", "gb18030"), ("ISO_IR 192", "utf-8")])
def test_findscu_finds_a_chinese_patient_in_its_own_character_set(
    archive: ArchiveProcess, tmp_path: Path, character_set: str, codec: str
) -> None:
    assert call(archive, "PUT", "/worklist/E1", document()).status_code == 201
    other = document(
        step__id="SPS2", patient__name={"ideographic": "李^娜"}, procedure__study_instance_uid="1.2.4"
    )
    assert call(archive, "PUT", "/worklist/E2", other).status_code == 201
    [answer] = findscu(
        archive, tmp_path / "found",
        b"SpecificCharacterSet=" + character_set.encode(), b"PatientName=*=" + "王*".encode(codec), b"PatientID",
        b"StudyInstanceUID", b"ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription",
        b"ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1",
        b"ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20250301-20250302",
    )  # fmt: skip
    assert answer.SpecificCharacterSet == character_set
    assert answer.PatientName == "Wang^XiaoDong=王^小东"
    assert (answer.PatientID, answer.StudyInstanceUID) == ("P1", "1.2.3")
    assert answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription == "胸部平扫"
    raw = next((tmp_path / "found").iterdir()).read_bytes()
    assert "王^小东".encode(codec) in raw


def test_an_examination_takes_its_entry_off_the_worklist_and_is_read_over_rest(
    archive: ArchiveProcess, tmp_path: Path
) -> None:
    assert call(archive, "PUT", "/worklist/E1", document()).status_code == 201
    everything = b"ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus"
    [waiting] = findscu(archive, tmp_path / "before", everything)
    assert waiting.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "SCHEDULED"

    ae = AE("MODALITY")
    ae.add_requested_context(MPPS)
    association = associate(ae, "127.0.0.1", archive.ports["dimse"], ae_title="PACS")
    assert association.is_established
    assert association.send_n_create(begun(), MPPS, STEP)[0].Status == 0x0000
    [running] = findscu(archive, tmp_path / "meanwhile", everything)
    assert running.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "STARTED"
    assert association.send_n_set(ended(), MPPS, STEP)[0].Status == 0x0000
    status, _ = association.send_n_set(ended("DISCONTINUED"), MPPS, STEP)
    assert (status.Status, status.ErrorID) == (0x0110, 0xA710)
    association.release()

    assert findscu(archive, tmp_path / "after", everything) == []
    entry = call(archive, "GET", "/worklist/E1").json()
    assert (entry["state"], entry["performed_step"], entry["site"]) == ("COMPLETED", STEP, "yanchang")
    step = call(archive, "GET", f"/performed-steps/{STEP}").json()
    assert (step["status"], step["calling_ae"]) == ("COMPLETED", "MODALITY")
    assert step["attributes"]["00100010"]["Value"][0]["Ideographic"] == "王^小东"
    assert call(archive, "PUT", "/worklist/E1", document(step__modality="MR")).status_code == 409
    archive.stop()
    logged = json.dumps(archive.log, ensure_ascii=False)
    assert "Wang" not in logged
    assert "王" not in logged
    assert not any(line.get("raw") for line in archive.log), "something wrote past the structured log"
