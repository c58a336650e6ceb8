"""What only the gateway may ask: the map of a series, and the form of an answer."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from services.archive.adapters.memory_workflow import memory_workflow
from services.archive.app import Archive
from services.archive.parts import Parts
from services.archive.reading.signing import S3Signer
from services.common.clock import SystemClock
from tests.services.archive.harness import GATEWAY_KEY, Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]

SERIES = "/reading/v1/studies/1.2.3/series/1.2.3.1"


class Gateway:
    """The gateway's side of the internal listener."""

    def __init__(self, harness: Harness, directory: Path) -> None:
        clock = SystemClock()
        signer = S3Signer("https://rgw.svc", "b", access_key="a", secret_key="s", clock=clock)
        settings = harness.settings.model_copy(update={"spool_directory": directory})
        self.archive = Archive(
            settings,
            Parts(harness.store, harness.index, harness.metrics, clock, memory_workflow(), signer=signer),
        )
        self._http = TestClient(self.archive.internal, raise_server_exceptions=False)

    def get(self, path: str, view: str = "yanan", key: str = GATEWAY_KEY, **headers: str) -> httpx.Response:
        return self._http.get(
            path, headers={"X-Pacs-Gateway-Key": key, "X-Pacs-Institutions": view, **headers}
        )


@pytest.fixture
def gateway(harness: Harness, tmp_path: Path) -> Gateway:
    harness.keep(*(synthetic(f"1.2.3.1.{n}", InstanceNumber=4 - n) for n in (1, 2, 3)))
    harness.keep(synthetic("1.2.3.9.1", series="1.2.3.9", SeriesNumber=2))
    return Gateway(harness, tmp_path / "second")


def uids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [line.split(" ")[1] for line in answer.text.splitlines() if line.startswith("I ")]


def test_a_map_has_the_instances_of_the_series_or_study_in_reading_order(gateway: Gateway) -> None:
    series = ["1.2.3.1.3", "1.2.3.1.2", "1.2.3.1.1"]
    assert uids(gateway.get(SERIES)) == series
    assert uids(gateway.get("/reading/v1/studies/1.2.3")) == [*series, "1.2.3.9.1"]


def test_a_map_that_is_known_is_not_sent_again_until_an_instance_comes(
    gateway: Gateway, harness: Harness
) -> None:
    version = gateway.get(SERIES).text.split(" ")[2]
    assert gateway.get(SERIES, **{"If-None-Match": version}).status_code == 304
    harness.keep(synthetic("1.2.3.1.4", InstanceNumber=9))
    assert len(uids(gateway.get(SERIES, **{"If-None-Match": version}))) == 4
    for result, count in (("made", 2), ("unchanged", 1)):
        assert harness.counted("pacs_archive_series_maps_total", result=result) == count


def test_only_the_institutions_that_are_named_are_seen(gateway: Gateway) -> None:
    assert gateway.get(SERIES, view="zhidan").status_code == 404
    assert len(uids(gateway.get(SERIES, view="yanan,zhidan"))) == 3
    for view in ("", "*", "yanan,*", "Yan An"):
        assert gateway.get(SERIES, view=view).status_code == 400


@pytest.mark.parametrize("path", [SERIES, "/reading/v1/representation?kind=frames"])
def test_nobody_without_the_gateways_key_is_told_anything(
    gateway: Gateway, harness: Harness, path: str
) -> None:
    for key in ("", "guessed"):
        assert gateway.get(path, key=key).status_code == 401
    assert (
        harness.counted("pacs_archive_refused_requests_total", interface="reading", reason="unauthenticated")
        == 2
    )


@pytest.mark.parametrize(
    "path",
    ["/reading/v1/studies/..", "/reading/v1/studies/1.2.3/series/a", "/reading/v1/representation?kind=x"],
)
def test_what_cannot_be_understood_is_refused(gateway: Gateway, path: str) -> None:
    assert gateway.get(path).status_code in (400, 404)


def test_the_form_is_told_in_three_lines_and_what_needs_the_archive_in_none(gateway: Gateway) -> None:
    path = "/reading/v1/representation?kind=frames&single=1&syntaxes=1.2.840.10008.1.2.1"
    answer = gateway.get(path, Accept="*/*")
    assert answer.text.splitlines() == [
        "multipart", "application/octet-stream", "application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1",
    ]  # fmt: skip
    assert gateway.get(path, Accept="text/html").status_code == 204
    assert gateway.get(path + ",1" * 100, Accept="*/*").status_code == 204


def test_an_archive_whose_store_no_other_process_reads_has_no_such_routes(harness: Harness) -> None:
    assert harness.internal.get(SERIES, headers={"X-Pacs-Gateway-Key": GATEWAY_KEY}).status_code == 404


def test_the_check_of_a_study_names_who_holds_it_and_when_the_token_ends(harness: Harness) -> None:
    harness.keep(synthetic("1.2.3.1.1"))
    ends = int(datetime.now(UTC).timestamp()) + 300

    def check(study: str, institutions: list[str]) -> httpx.Response:
        headers = harness.issuer.bearer(institutions=institutions, exp=ends)
        return harness.http.get(f"/auth/v1/check?scope=dicomweb:read&study={study}", headers=headers)

    for institutions in (["*"], ["yanan"], ["zhidan", "yanan"]):
        answer = check("1.2.3", institutions)
        assert (answer.status_code, answer.headers["x-pacs-institutions"]) == (204, "yanan")
        assert answer.headers["x-pacs-expires"] == str(ends)
    assert check("1.2.3", ["zhidan"]).status_code == 404
    assert check("1.2.4", ["*"]).status_code == 404
    assert check("../1", ["*"]).status_code == 400
