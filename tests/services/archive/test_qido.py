"""Rules of QIDO-RS (PS3.18 10.6): what is asked is matched or refused, and answers are whole DICOM JSON."""

import pytest

from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import file_bytes, synthetic

__all__ = ["harness"]


def uids(response: object, tag: str = "0020000D") -> list[str]:
    assert hasattr(response, "status_code")
    if response.status_code == 204:
        return []
    assert response.status_code == 200, response.text  # type: ignore[attr-defined]
    return [one[tag]["Value"][0] for one in response.json()]  # type: ignore[attr-defined]


def test_a_study_answer_holds_every_attribute_the_standard_requires(harness: Harness) -> None:
    harness.keep(synthetic("1.1"), synthetic("1.2", series="1.2.3.2", Modality="SR", SeriesNumber=2))
    response = harness.get("/studies", "application/dicom+json")
    assert response.headers["content-type"] == "application/dicom+json"
    [study] = response.json()
    required = {
        "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010", "00100020",
        "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
    }  # fmt: skip
    assert required <= study.keys()
    assert list(study) == sorted(study), "PS3.18 F.2.2: ascending"
    assert study["00080061"]["Value"] == ["CT", "SR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [2])
    assert study["00100010"]["Value"] == [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小東"}]
    assert study["00080005"]["Value"] == ["ISO_IR 192"]
    assert study["00081190"]["Value"] == ["http://testserver/dicom-web/studies/1.2.3"]
    assert study["00080090"] == {"vr": "PN"}, "an unknown one is empty, not absent"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("chrX1.dcm", "王^小東"), ("chrX2.dcm", "王*"), ("chrX2.dcm", "wang^xiaodong=王^小东"), ("chrH31.dcm", "山田*"),
        ("chrH32.dcm", "ヤマダ*"), ("chrH31.dcm", "==やまだ^たろう"), ("chrI2.dcm", "洪^吉洞"), ("chrI2.dcm", "홍*"),
        ("chrGerm.dcm", "äneas^rüdiger"), ("chrRuss.dcm", "люк*"), ("chrArab.dcm", "قباني*"), ("chrKoreanMulti.dcm", "김희중"),
    ],
)  # fmt: skip
def test_a_name_is_found_whatever_its_character_set(harness: Harness, name: str, asked: str) -> None:
    harness.keep(file_bytes(name))
    assert (
        len(
            uids(
                harness.http.get(
                    "/dicom-web/studies", params={"PatientName": asked}, headers=harness.issuer.bearer()
                )
            )
        )
        == 1
    )


def test_searches_by_keyword_tag_and_path_find_the_same(harness: Harness) -> None:
    harness.keep(synthetic("1.1"), synthetic("1.2", series="1.2.3.2"))
    for path in (
        "/studies/1.2.3/series/1.2.3.2/instances", "/instances?SeriesInstanceUID=1.2.3.2", "/instances?0020000E=1.2.3.2",
        "/instances?0020000e=1.2.3.2", "/studies/1.2.3/instances?SOPInstanceUID=1.2", "/instances?SOPInstanceUID=9,1.2",
    ):  # fmt: skip
        assert uids(harness.get(path), "00080018") == ["1.2"], path
    assert uids(harness.get("/studies/1.2.3/series"), "0020000E") == ["1.2.3.1", "1.2.3.2"]
    assert uids(harness.get("/series?PatientID=P1&Modality=CT"), "0020000E") == ["1.2.3.1", "1.2.3.2"]


def test_a_relational_answer_brings_the_levels_above_and_a_hierarchical_one_does_not(
    harness: Harness,
) -> None:
    harness.keep(synthetic("1.1"))
    [relational] = harness.get("/instances").json()
    assert {"00100010", "00080060", "00080018"} <= relational.keys()
    [hierarchical] = harness.get("/studies/1.2.3/series/1.2.3.1/instances").json()
    assert "00100010" not in hierarchical
    assert {"0020000D", "0020000E", "00080018", "00280010"} <= hierarchical.keys()
    [series] = harness.get("/studies/1.2.3/series").json()
    assert series["00201209"]["Value"] == [1]


def test_includefield_adds_what_was_asked_for_and_all_adds_everything(harness: Harness) -> None:
    harness.keep(synthetic("1.1", PatientAge="050Y", WindowCenter=40, InstitutionName="Yan'an"))
    path = "/studies/1.2.3/series/1.2.3.1/instances"
    assert "00281050" not in harness.get(path).json()[0]
    assert harness.get(path + "?includefield=WindowCenter").json()[0]["00281050"]["Value"] == [40]
    assert harness.get(path + "?includefield=00281050,00101010").json()[0]["00101010"]["Value"] == ["050Y"]
    assert "00281050" in harness.get(path + "?includefield=all").json()[0]
    assert harness.get("/studies?includefield=PatientAge").json()[0]["00101010"]["Value"] == ["050Y"]


def test_pages_follow_limit_and_offset_and_say_when_there_is_more(harness: Harness) -> None:
    harness.keep(*(synthetic(f"1.{n}", InstanceNumber=n) for n in range(1, 6)))
    first = harness.get("/instances?limit=2")
    assert uids(first, "00080018") == ["1.1", "1.2"]
    assert first.headers["warning"].startswith("299 ")
    last = harness.get("/instances?limit=2&offset=4")
    assert uids(last, "00080018") == ["1.5"]
    assert "warning" not in last.headers
    assert harness.get("/instances?limit=0").status_code == 204
    assert harness.get("/instances?offset=99").status_code == 204


def test_fuzzy_matching_finds_a_name_by_its_words_in_any_order_and_literal_matching_does_not(
    harness: Harness,
) -> None:
    harness.keep(synthetic("1.1"))
    for level, asked in (("studies", "xiaodong wang"), ("series", "王小東"), ("instances", "XIAO")):
        assert uids(harness.get(f"/{level}?fuzzymatching=true&PatientName={asked}")) == ["1.2.3"]
        response = harness.get(f"/{level}?PatientName={asked}")
        assert response.status_code == 204
        assert "warning" not in response.headers
    assert harness.get("/studies?fuzzymatching=perhaps").status_code == 400
    assert (
        harness.get(
            "/studies?fuzzymatching=true&PatientName=" + " ".join(f"a{n}" for n in range(17))
        ).status_code
        == 400
    )


def test_includefield_takes_keywords_tags_and_paths_into_sequences(harness: Harness) -> None:
    harness.keep(file_bytes("CT_small.dcm"))
    plain = harness.get("/series").json()[0]
    assert "00080070" not in plain
    for asked in ("Manufacturer", "00080070", "Manufacturer,StationName", "00080070.00080100"):
        assert "00080070" in harness.get(f"/series?includefield={asked}").json()[0], asked
    assert harness.get("/series?includefield=Nonsense.00080100").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "offset=1.5", "StudyDate=yesterday", "StudyDate=2025-01-01", "StudyTime=25h",
        "SeriesNumber=one", "InstanceNumber=1", "Nonsense=1", "00281050=40", "includefield=Nonsense",
        "PatientName=%00", "StudyDate=-", "limit=" + "9" * 30,
    ],
)  # fmt: skip
def test_what_cannot_be_matched_is_refused_and_never_ignored(harness: Harness, query: str) -> None:
    harness.keep(synthetic("1.1"))
    response = harness.get("/studies?" + query)
    assert response.status_code == 400
    assert response.json()["action"]


@pytest.mark.parametrize(
    "query", ["PatientName=' OR 1=1 --", "PatientID=%25", "PatientID=_1", "AccessionNumber=\\"]
)
def test_text_of_another_language_matches_nothing(harness: Harness, query: str) -> None:
    harness.keep(synthetic("1.1"))
    assert harness.get("/studies?" + query).status_code == 204


def test_only_dicom_json_is_made(harness: Harness) -> None:
    assert harness.get("/studies", "application/json").status_code == 204
    assert harness.get("/studies", "text/html").status_code == 406
    assert harness.get("/studies?accept=application/dicom%2Bjson", "text/html").status_code == 204


def test_the_retrieve_url_is_https_behind_the_gateway(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    headers = {**harness.issuer.bearer(), "Host": "pacs.local.test", "X-Forwarded-Proto": "https"}
    [study] = harness.http.get("/dicom-web/studies", headers=headers).json()
    assert study["00081190"]["Value"] == ["https://pacs.local.test/dicom-web/studies/1.2.3"]
