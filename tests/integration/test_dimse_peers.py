"""The archive's DIMSE services with peers that none of us wrote: DCMTK, GDCM, Orthanc (conformance statement, 2)."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from bench.network import free_port
from services.packs.instance import scan
from tests.integration.archive_process import ArchiveProcess
from tests.integration.dicom_peers import PROGRAMS, keys, responses, run
from tests.integration.orthanc import Orthanc
from tests.integration.postgres import PostgresServer, postgres
from tests.services.archive.samples import file_bytes, synthetic
from tests.services.archive.tokens import Issuer
from tests.waiting import wait_for

__all__ = ["postgres"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
STUDY = "1.2.826.0.1.3680043.10.1338.7"
LOCAL = "127.0.0.0/8"
CHINESE = "Wang^XiaoDong=王^小东"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
# A file of pydicom's for each transfer syntax, and storescu's option that proposes it.
MIXED = {
    "1.2.840.10008.1.2.1": "CT_small.dcm", "1.2.840.10008.1.2": "rtplan.dcm", "1.2.840.10008.1.2.5": "MR_small_RLE.dcm",
    "1.2.840.10008.1.2.4.90": "MR_small_jp2klossless.dcm", "1.2.840.10008.1.2.4.80": "MR_small_jpeg_ls_lossless.dcm",
}  # fmt: skip
MIXED_OPTIONS = {
    "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2.4.90": "-xv", "1.2.840.10008.1.2.4.80": "-xt",
}  # fmt: skip
NAMES = {CHINESE: "GB18030", JAPANESE: "\\ISO 2022 IR 87", KOREAN: "\\ISO 2022 IR 149"}


@dataclass(frozen=True)
class Ports:
    """Where the destinations of the archive listen, once a test starts them."""

    storescp: int
    orthanc: int


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports(free_port(), free_port())


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, ports: Ports
) -> Iterator[ArchiveProcess]:
    targets = {"STORESCP": ports.storescp, "ORTHANC": ports.orthanc}
    names = ("MODALITY", "FINDSCU", "GDCMSCU", "GETSCU", "MOVESCU", "ORTHANC", "STORESCP")
    made = ArchiveProcess(
        tmp_path_factory.mktemp("archive"), postgres.new_database(), Issuer(),
        PACS_DIMSE_CALLERS=json.dumps([{"ae_title": one, "network": LOCAL, "moves_to": list(targets)} for one in names]),
        PACS_DIMSE_DESTINATIONS=json.dumps(
            [{"ae_title": title, "host": "127.0.0.1", "port": port} for title, port in targets.items()]
        ),
    )  # fmt: skip
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def named(archive: ArchiveProcess, tmp_path_factory: pytest.TempPathFactory) -> ArchiveProcess:
    """The archive with a study for each of the names, sent by DCMTK in the character set of its country."""
    folder = tmp_path_factory.mktemp("named")
    for number, (name, terms) in enumerate(NAMES.items()):
        study = f"{STUDY}.{number}"
        (folder / f"{number}.dcm").write_bytes(
            synthetic(
                f"{study}.1.1",
                study=study,
                series=f"{study}.1",
                SpecificCharacterSet=terms.split("\\"),
                PatientName=name,
                PatientID=f"N{number}",
                AccessionNumber=f"A{number}",
            )
        )
    run("dcmsend", "-aet", "MODALITY", "-aec", "PACS", "127.0.0.1", archive.ports["dimse"], "+sd", folder)
    wait_for(
        lambda: len(archive.get("/dicom-web/studies?PatientID=N*").content) > 10, 60, "the index has them"
    )
    wait_for(
        lambda: len(json.loads(archive.get("/dicom-web/studies?PatientID=N*").content)) == 3, 60, "all three"
    )
    return archive


def find(archive: ArchiveProcess, folder: Path, model: str = "-S", **asked: str) -> list[Path]:
    """The response files of a findscu query."""
    folder.mkdir()
    run(
        "findscu", model, "-X", "-od", folder, "-aec", "PACS", *keys(**asked),
        "127.0.0.1", archive.ports["dimse"],
    )  # fmt: skip
    return responses(folder)


def test_dcmtks_echoscu_is_answered(archive: ArchiveProcess) -> None:
    run("echoscu", "-aet", "MODALITY", "-aec", "PACS", "127.0.0.1", archive.ports["dimse"])
    refused = run(
        "echoscu", "-aet", "STRANGER", "-aec", "PACS", "127.0.0.1", archive.ports["dimse"], expect=None
    )
    assert "Calling AE Title Not Recognized" in refused


def test_dcmtks_storescu_stores(archive: ArchiveProcess, tmp_path: Path) -> None:
    uid = f"{STUDY}.88.1.1"
    made = synthetic(uid, study=f"{STUDY}.88", series=f"{STUDY}.88.1", PatientID="STORESCU")
    (tmp_path / "one.dcm").write_bytes(made)
    run(
        "storescu",
        "-aet",
        "MODALITY",
        "-aec",
        "PACS",
        "127.0.0.1",
        archive.ports["dimse"],
        tmp_path / "one.dcm",
    )
    wait_for(lambda: uid in archive.get("/dicom-web/instances?PatientID=STORESCU").text, 60, "it is indexed")


@pytest.mark.parametrize("name", list(NAMES))
@pytest.mark.parametrize("in_utf_8", [True, False])
def test_names_are_found_and_read_by_dcmtks_findscu_in_their_own_character_set(
    named: ArchiveProcess, tmp_path: Path, name: str, in_utf_8: bool
) -> None:
    terms = "ISO_IR 192" if in_utf_8 else NAMES[name]
    query = dcmread(_query_file(tmp_path / "query.dcm", name, terms))
    [found] = _ask_with_file(named, tmp_path, tmp_path / "query.dcm")
    answer = dcmread(found, force=True)
    assert query.SpecificCharacterSet == answer.SpecificCharacterSet
    assert str(answer.PatientName) == name


def _query_file(path: Path, name: str, terms: str) -> Path:
    """A query for the ideographic group of this name, as a file that findscu sends."""
    group = name.split("=")[1]
    path.write_bytes(synthetic("1.2.3", SpecificCharacterSet=terms.split("\\"), PatientName=f"={group}"))
    return path


def _ask_with_file(archive: ArchiveProcess, folder: Path, query: Path) -> list[Path]:
    data_set = dcmread(query)
    for element in list(data_set):
        if element.keyword not in ("SpecificCharacterSet", "PatientName"):
            del data_set[element.tag]
    data_set.QueryRetrieveLevel, data_set.StudyInstanceUID = "STUDY", ""
    data_set.file_meta = dcmread(query).file_meta
    data_set.save_as(query)
    (folder / "answers").mkdir()
    run(
        "findscu", "-S", "-X", "-od", folder / "answers", "-aec", "PACS", "127.0.0.1", archive.ports["dimse"], query,
    )  # fmt: skip
    return responses(folder / "answers")


def test_dcmtks_findscu_walks_down_both_models(named: ArchiveProcess, tmp_path: Path) -> None:
    def values(step: str, model: str, keyword: str, **asked: str) -> list[str]:
        return [
            str(dcmread(one, force=True)[keyword].value)
            for one in find(named, tmp_path / step, model, **asked)
        ]

    patients = values("p", "-P", "NumberOfPatientRelatedStudies", QueryRetrieveLevel="PATIENT", PatientID="N1",
                      NumberOfPatientRelatedStudies="")  # fmt: skip
    assert patients == ["1"]
    study = f"{STUDY}.1"
    level = {"QueryRetrieveLevel": "STUDY", "PatientID": "N1"}
    assert values("s", "-P", "StudyInstanceUID", **level, StudyInstanceUID="") == [study]
    level = {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study}
    assert values("r", "-S", "SeriesInstanceUID", **level, SeriesInstanceUID="") == [f"{study}.1"]
    level = {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1"}
    assert values("i", "-S", "SOPInstanceUID", **level, SOPInstanceUID="") == [f"{study}.1.1"]


@contextmanager
def storescp(folder: Path, port: int) -> Iterator[None]:
    """DCMTK's storescp, which keeps the data sets as they come."""
    program = shutil.which("storescp", path=PROGRAMS)
    if program is None:
        pytest.skip("needs storescp: apt-get install dcmtk")
    folder.mkdir()
    running = subprocess.Popen(
        [program, "-od", str(folder), "+B", "--accept-all", "-aet", "STORESCP", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: _listens(port), 30, "storescp listens", every=0.1)
        yield
    finally:
        running.terminate()
        running.wait(timeout=30)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def digests(folder: Path) -> set[str]:
    """What the files of a folder hold, whoever wrote their headers (contracts, section 3)."""
    return {scan(path.read_bytes()).digest for path in folder.iterdir()}


def held(named: ArchiveProcess, number: int) -> str:
    """The digest of an instance of the mixed study as the archive keeps it."""
    series = f"/dicom-web/studies/{STUDY}.9/series/{STUDY}.9.{number}"
    answer = named.get(
        f"{series}/instances/{STUDY}.9.{number}.1", Accept="application/dicom; transfer-syntax=*"
    )
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
        200,
        "application/dicom",
    )
    return scan(answer.content).digest


def pictures(*files: bytes) -> set[tuple[str, str, str]]:
    """Instance, transfer syntax and pixels: what stays where a peer writes data sets anew."""
    found = [scan(content) for content in files]
    return {(one.sop_instance_uid, one.transfer_syntax, one.pixel_digest) for one in found}


@pytest.fixture(scope="module")
def mixed(named: ArchiveProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One study in several transfer syntaxes in the archive; the folder that it was sent from."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, transfer_syntax in enumerate(MIXED):
        name = MIXED[transfer_syntax]
        data_set = dcmread(io.BytesIO(file_bytes(name)))
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = f"{STUDY}.9", f"{STUDY}.9.{number}"
        data_set.SOPInstanceUID = f"{STUDY}.9.{number}.1"
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        data_set.save_as(folder / f"{number}.dcm")
    # Each in a presentation context of its own: storescu proposes one transfer syntax a run.
    for path in sorted(folder.iterdir()):
        option = MIXED_OPTIONS[str(dcmread(path).file_meta.TransferSyntaxUID)]
        run("storescu", option, "-aet", "MODALITY", "-aec", "PACS", "127.0.0.1", named.ports["dimse"], path)
    find_all = f"/dicom-web/instances?StudyInstanceUID={STUDY}.9"
    wait_for(
        lambda: len(json.loads(named.get(find_all).content or b"[]")) == len(MIXED), 60, "all are indexed"
    )
    return folder


@pytest.mark.usefixtures("mixed")
def test_dcmtks_movescu_has_a_study_sent_to_storescp_as_it_was_stored(
    named: ArchiveProcess, ports: Ports, tmp_path: Path
) -> None:
    with storescp(tmp_path / "received", ports.storescp):
        run(
            "movescu", "-S", "-aec", "PACS", "-aem", "STORESCP", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"{STUDY}.9"),
            "127.0.0.1", named.ports["dimse"],
        )  # fmt: skip
    # Not with the files that were sent: storescu wrote their data sets anew.
    assert digests(tmp_path / "received") == {held(named, number) for number in range(len(MIXED))}


def test_dcmtks_movescu_is_told_of_an_unknown_destination(named: ArchiveProcess) -> None:
    said = run(
        "movescu", "-v", "-S", "-aec", "PACS", "-aem", "NOBODY", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"{STUDY}.0"),
        "127.0.0.1", named.ports["dimse"], expect=None,
    )  # fmt: skip
    assert "MoveDestinationUnknown" in said or "0xa801" in said.lower()


@pytest.mark.parametrize("option", ["+xe", "+xi"])
def test_dcmtks_getscu_gets_uncompressed_studies_in_the_syntax_that_it_prefers(
    named: ArchiveProcess, tmp_path: Path, option: str
) -> None:
    run(
        "getscu", "-S", option, "-od", tmp_path, "-aec", "PACS", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"{STUDY}.0"),
        "127.0.0.1", named.ports["dimse"],
    )  # fmt: skip
    [path] = tmp_path.iterdir()
    received = dcmread(path)
    assert (received.SOPInstanceUID, str(received.PatientName)) == (f"{STUDY}.0.1.1", CHINESE)


@pytest.fixture(scope="module")
def gdcm(ports: Ports, tmp_path_factory: pytest.TempPathFactory) -> None:
    """GDCM's gdcmscu, where it works at all: Debian 12's 3.0.21 aborts with whatever peer it connects to."""
    with storescp(tmp_path_factory.mktemp("gdcm") / "control", ports.storescp):
        said = run("gdcmscu", "--echo", "--call", "STORESCP", "127.0.0.1", ports.storescp, expect=None)
    if "ProtocolStream as nullptr" in said:
        pytest.skip("this gdcmscu cannot speak to DCMTK's storescp either: it needs another release of GDCM")


@pytest.mark.usefixtures("gdcm")
def test_gdcms_gdcmscu_echoes_and_finds(named: ArchiveProcess) -> None:
    port = named.ports["dimse"]
    run("gdcmscu", "--echo", "--aetitle", "GDCMSCU", "--call", "PACS", "127.0.0.1", port)
    text = run(
        "gdcmscu", "--find", "--study", "--studyroot", "--aetitle", "GDCMSCU", "--call", "PACS",
        "--key", "0010,0020=N0", "--key", "0020,000d=", "127.0.0.1", port,
    )  # fmt: skip
    assert f"{STUDY}.0" in text


@pytest.mark.usefixtures("gdcm")
def test_gdcms_gdcmscu_has_a_study_sent(named: ArchiveProcess, ports: Ports, tmp_path: Path) -> None:
    run(
        "gdcmscu", "--move", "--study", "--studyroot", "--aetitle", "STORESCP", "--call", "PACS",
        "--port-scp", ports.storescp, "--output", tmp_path, "--key", f"0020,000d={STUDY}.2",
        "127.0.0.1", named.ports["dimse"],
    )  # fmt: skip
    [path] = tmp_path.iterdir()
    assert str(dcmread(path).PatientName) == KOREAN


@pytest.fixture(scope="module")
def orthanc(
    named: ArchiveProcess, ports: Ports, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orthanc]:
    started = Orthanc(tmp_path_factory.mktemp("orthanc"), named.ports["dimse"], dicom_port=ports.orthanc)
    yield started
    started.close()


def test_orthanc_echoes_finds_and_retrieves_what_the_archive_holds(
    named: ArchiveProcess, orthanc: Orthanc
) -> None:
    orthanc.post("/modalities/archive/echo", {})
    query = orthanc.post(
        "/modalities/archive/query", {"Level": "Study", "Query": {"PatientID": "N1", "PatientName": "", "StudyInstanceUID": ""}}
    )  # fmt: skip
    found = orthanc.get(f"/queries/{query['ID']}/answers/0/content?simplify")
    assert (found["StudyInstanceUID"], found["PatientName"]) == (f"{STUDY}.1", JAPANESE)
    orthanc.post(f"/queries/{query['ID']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    [instance] = orthanc.instances(f"{STUDY}.1")
    received = dcmread(io.BytesIO(orthanc.file(instance)))
    assert str(received.PatientName) == JAPANESE


def test_orthanc_stores_into_the_archive(named: ArchiveProcess, orthanc: Orthanc) -> None:
    study = f"{STUDY}.77"
    sent = synthetic(f"{study}.1.1", study=study, series=f"{study}.1", PatientID="FROM-ORTHANC")
    instance = orthanc.post("/instances", sent)["ID"]
    orthanc.post("/modalities/archive/store", {"Resources": [instance], "Synchronous": True})
    wait_for(
        lambda: study in named.get("/dicom-web/studies?PatientID=FROM-ORTHANC").text, 60, "it is indexed"
    )


def test_the_archive_sends_a_mixed_study_to_orthanc_for_somebody_else(
    named: ArchiveProcess, mixed: Path, orthanc: Orthanc
) -> None:
    run(
        "movescu", "-S", "-aec", "PACS", "-aem", "ORTHANC", *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=f"{STUDY}.9"),
        "127.0.0.1", named.ports["dimse"],
    )  # fmt: skip
    received = pictures(*(orthanc.file(one) for one in orthanc.instances(f"{STUDY}.9")))
    assert received == pictures(*(path.read_bytes() for path in mixed.iterdir()))
