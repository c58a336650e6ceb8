"""Retrieval through the gateway: the bytes come from the object store or its cache, and are the archive's own.

Real nginx, a real archive over PostgreSQL, and an S3 server that judges each signature.
"""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from bench.network import free_port
from services.archive.encryption.wrapping_keys import WrappingKeys
from services.archive.reading.signing import CUSTOMER
from services.packs.instance import scan
from tests.integration.archive_process import ArchiveProcess
from tests.integration.ceph import S3Endpoint
from tests.integration.postgres import PostgresServer, postgres
from tests.integration.region_door import ARCHIVE_NAME, DOMAIN, Door, program, resolve_locally
from tests.integration.small_s3 import SmallS3, running_small_s3
from tests.integration.test_archive_end_to_end import available
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer
from tests.waiting import wait_for

__all__ = ["postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

ACCEPTS = (
    None, "application/dicom; transfer-syntax=*", 'multipart/related; type="application/dicom"',
    "application/octet-stream; transfer-syntax=*", 'multipart/related; type="application/octet-stream"',
    "image/jp2, image/jls;q=0.5, */*;q=0.1", "text/html", 'nonsense "',
)  # fmt: skip
SYNTAXES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "JPEG-LL.dcm",
    "MR_small_RLE.dcm",
    "rtplan.dcm",
)
OCTETS = "application/octet-stream; transfer-syntax=*"


@dataclass(frozen=True)
class Region:
    """The gateway, and the archive and store behind it."""

    door: Door
    archive: ArchiveProcess
    small_store: SmallS3 | None
    http: httpx.Client

    @property
    def store(self) -> SmallS3:
        """The small S3 server, where it is one."""
        assert self.small_store is not None
        return self.small_store

    def get(
        self, path: str, accept: str | None = OCTETS, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """GET below /dicom-web through the gateway."""
        return self.http.get(
            f"{self.door.url}/dicom-web{path}", headers=self._headers(accept, token, headers)
        )

    def from_archive(self, path: str, accept: str | None = OCTETS, **headers: str) -> httpx.Response:
        """The same of the archive itself."""
        url = f"https://127.0.0.1:{self.door.archive_port}/dicom-web{path}"
        return self.http.get(
            url, headers=self._headers(accept, None, headers), extensions={"sni_hostname": ARCHIVE_NAME}
        )

    def _headers(self, accept: str | None, token: str | None, more: dict[str, str]) -> dict[str, str]:
        bearer = self.archive.issuer.token() if token is None else token
        # httpx sends an Accept of its own unless it is told another; an empty one stands for none.
        return {"Authorization": f"Bearer {bearer}", "Accept": accept or "", **more}

    def token(self, **claims: Any) -> str:
        return self.archive.issuer.token(**claims)

    def keep(self, *files: bytes) -> None:
        """Store these through the gateway, and wait until they are in the index."""
        body = (
            b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % one for one in files)
            + b"--b--\r\n"
        )
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        answer = self.http.post(
            f"{self.door.url}/dicom-web/studies", content=body,
            headers={**self.archive.issuer.bearer(), "Content-Type": kind},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        for one in files:
            path = path_of(one)
            wait_for(
                lambda path=path: self.from_archive(path + "/metadata", "*/*").status_code == 200,
                60,
                f"{path} is indexed",
            )

    def figure(self, name: str, **labels: str) -> float:
        """A metric of the gateway, 0 where it never was counted."""
        context = ssl.create_default_context(cafile=str(self.door.root))
        context.check_hostname = False
        with httpx.Client(verify=context, trust_env=False) as http:
            text = http.get(f"https://127.0.0.1:{self.door.status_port}/metrics").text
        wanted = name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} "
        return sum(float(line[len(wanted) :]) for line in text.splitlines() if line.startswith(wanted))


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Region]:
    with (
        pytest.MonkeyPatch.context() as patch,
        running_small_s3(tmp_path_factory.mktemp("s3")) as store,
    ):
        resolve_locally(patch)
        yield from running_region(tmp_path_factory, postgres, store.endpoint, store)


def running_region(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    endpoint: S3Endpoint,
    store: SmallS3 | None = None,
) -> Iterator[Region]:
    """A gateway and a centre's archive over the bucket `packs` of this endpoint."""
    door = Door(
        tmp_path_factory.mktemp("door"), free_port(), free_port(), ingest_port=free_port(),
        store=endpoint.url.removeprefix("https://"), store_ca=endpoint.ca_file,
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("archive")
    (directory / "access").write_text(endpoint.access_key)
    (directory / "secret").write_text(endpoint.secret_key)
    (directory / "wrapping").write_bytes(WrappingKeys.generate("local", "2025-03-01T00:00:00Z").document())
    receipts = door.receipt_files()
    shown = door.server()
    archive = ArchiveProcess(
        directory, postgres.new_database(), Issuer(),
        PACS_TLS_CERTIFICATE_FILE=str(shown.certificate), PACS_TLS_KEY_FILE=str(shown.key),
        PACS_HTTP_PORT=str(door.archive_port), PACS_INTERNAL_PORT=str(door.ingest_port),
        PACS_GATEWAY_KEY_FILE=str(door.gateway_key), PACS_RECEIPT_KEY_FILE=str(receipts.key),
        PACS_RECEIPT_CERTIFICATE_FILE=str(receipts.certificate),
        PACS_WRAPPING_KEYS_FILE=str(directory / "wrapping"),
        PACS_STORE="rgw", PACS_STORE_ENDPOINT=endpoint.url, PACS_STORE_BUCKET="packs",
        PACS_STORE_ACCESS_KEY_FILE=str(directory / "access"), PACS_STORE_SECRET_KEY_FILE=str(directory / "secret"),
        PACS_STORE_CA_FILE=str(endpoint.ca_file),
    )  # fmt: skip
    context = door.client_context()
    archive.start()
    try:
        with door.gateway(), httpx.Client(verify=context, trust_env=False, timeout=60) as http:
            yield Region(door, archive, store, http)
    finally:
        archive.close()


@pytest.fixture(scope="module")
def files(region: Region) -> dict[str, bytes]:
    """Instances of many transfer syntaxes, each a study of its own."""
    found = {name: content for name in SYNTAXES if (content := available(name)) is not None}
    found["frames"] = synthetic("1.2.3.8.1", study="1.2.3.8", series="1.2.3.8.2", frames=5)
    region.keep(*found.values())
    return found


@pytest.fixture
def series(region: Region, request: pytest.FixtureRequest) -> str:
    """The path of a series of this test alone, with three instances of five frames."""
    own = f"2.25.{abs(hash(request.node.nodeid))}"
    region.keep(*(
        synthetic(
            f"{own}.{n}", study=own, series=f"{own}.9", frames=5, InstanceNumber=n,
            pixels=bytes([n]) * 16 + bytes(range(16)),
        )
        for n in (1, 2, 3)
    ))  # fmt: skip
    return f"/studies/{own}/series/{own}.9"


def path_of(content: bytes) -> str:
    one = scan(content)
    return f"/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_instance_uid}"


def first_of(series: str) -> str:
    """The path of its first instance."""
    return f"{series}/instances/{series.split('/')[2]}.1"


def without_boundary(answer: httpx.Response) -> tuple[int, str, bytes]:
    """Status, content type and body, with every boundary the same."""
    kind = answer.headers.get("content-type", "")
    boundary = kind.rpartition("boundary=")[2] if "boundary=" in kind else ""
    body = answer.content.replace(boundary.encode(), b"BOUNDARY") if boundary else answer.content
    return answer.status_code, kind.replace(boundary, "BOUNDARY") if boundary else kind, body


def test_every_answer_is_the_archives_for_many_syntaxes_and_accept_headers(
    region: Region, files: dict[str, bytes]
) -> None:
    seen = set()
    for name, content in files.items():
        path = path_of(content)
        series, study = path.rpartition("/instances/")[0], path.rpartition("/series/")[0]
        for what in (
            path, series, study, f"{path}/frames/1", f"{path}/frames/5,2,3", f"{path}/frames/99",
            f"{path}/frames/0", f"{path}/bulkdata/7FE00010",
            f"{series}/metadata",
        ):  # fmt: skip
            for accept in ACCEPTS:
                given, wanted = region.get(what, accept), region.from_archive(what, accept)
                assert without_boundary(given) == without_boundary(wanted), (name, what, accept)
                seen.add(given.status_code)
    assert seen == {200, 400, 404, 406}
    for kind in ("frame", "instance", "bulkdata", "metadata"):
        assert region.figure("pacs_gateway_reads_total", kind=kind, source="cache") > 0
    for kind in ("frames", "series"):
        assert region.figure("pacs_gateway_reads_total", kind=kind, source="store") > 0
    assert region.figure("pacs_gateway_reads_total", kind="series", source="broken") == 0


def test_instances_larger_than_the_pieces_they_are_read_in_come_whole(region: Region) -> None:
    own = "1.2.3.9"
    files = [
        synthetic(f"{own}.{n}", study=own, series=f"{own}.9", frames=3, pixels=bytes([n]) * (3 << 20))
        for n in (1, 2)
    ]
    region.keep(*files)
    series = path_of(files[0]).rpartition("/instances/")[0]
    for what, accept in (
        (series, None),
        (f"{path_of(files[0])}/frames/3,1,2", None),
        (f"{path_of(files[1])}/frames/1,2", OCTETS),
    ):
        given, wanted = region.get(what, accept), region.from_archive(what, accept)
        assert without_boundary(given) == without_boundary(wanted), (what, accept)


def test_a_frame_is_read_from_the_store_once_and_then_from_the_cache(region: Region, series: str) -> None:
    path = first_of(series) + "/frames/3"
    region.store.reads.clear()
    before = region.figure("pacs_gateway_reads_total", kind="frame", source="cache")
    answers = [
        region.get(path, accept)
        for accept in (OCTETS, OCTETS, None, 'multipart/related; type="application/octet-stream"')
    ]
    assert {answer.status_code for answer in answers} == {200}
    [(object_path, asked)] = region.store.reads
    assert object_path.startswith("/packs/packs/yanan/")
    assert asked is not None
    assert answers[0].content in answers[2].content
    assert region.figure("pacs_gateway_reads_total", kind="frame", source="cache") == before + 3


def test_nothing_of_the_store_and_nothing_of_the_client_passes(region: Region, series: str) -> None:
    answer = region.get(first_of(series) + "/frames/1", OCTETS, Cookie="secret=1", Range="bytes=0-3")
    given = region.store.headers_of_reads[-1]
    assert not {"authorization", "cookie", "accept"} & given.keys()
    assert {name.removeprefix(CUSTOMER) for name in given if name.startswith(CUSTOMER)} == {
        "algorithm",
        "key",
        "key-md5",
    }
    assert given[CUSTOMER + "key"] not in region.door.access_log.read_text()
    assert not [name for name in answer.headers if name.startswith(("x-amz", "x-rgw"))]
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-request-id"]


def test_a_token_of_another_institution_gets_404_for_a_frame_that_is_hot(region: Region, series: str) -> None:
    for path in (first_of(series) + "/frames/1", first_of(series), series):
        assert region.get(path, None).status_code == 200
        foreign = region.get(path, None, token=region.token(institutions=["zhidan"]))
        assert (foreign.status_code, foreign.headers["content-type"]) == (404, "application/problem+json")
        for scope in ("ops", "dicomweb:store"):
            assert region.get(path, None, token=region.token(scope=scope)).status_code == 403
        own = region.get(path, None, token=region.token(institutions=["yanan", "zhidan"]))
        assert own.status_code == 200


@pytest.mark.parametrize("token", ["x", "forged.to.ken", None])
def test_a_token_that_does_not_hold_gets_401_for_a_frame_that_is_hot(
    region: Region, series: str, token: str | None
) -> None:
    path = first_of(series) + "/frames/1"
    assert region.get(path).status_code == 200
    expired = region.token(exp=int(time.time()) - 61) if token is None else token
    answer = region.get(path, token=expired)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_is_believed_no_longer_than_it_lasts(region: Region, series: str) -> None:
    """The archive allows a minute for clocks that differ, the cache none: here it ends while the token is hot."""
    ends = int(time.time()) + 62
    path, token = first_of(series) + "/frames/1", region.token(exp=ends - 120)
    assert region.get(path, token=token).status_code == 200
    wait_for(lambda: time.time() > ends - 60 + 1, 20, "the token's last moment has passed")
    assert region.get(path, token=token).status_code == 401


def test_a_key_that_is_withdrawn_ends_its_tokens_within_the_time_of_belief(
    region: Region, series: str
) -> None:
    path, stranger = first_of(series) + "/frames/1", Issuer("next")
    withdrawn = region.token()
    jwks = region.archive.directory / "tokens.jwks"
    kept = jwks.read_bytes()
    assert region.get(path, token=withdrawn).status_code == 200
    stranger.write_jwks(jwks)
    try:
        wait_for(lambda: region.get(path, token=withdrawn).status_code == 401, 40, "the token is refused")
        assert region.get(path, token=stranger.token()).status_code == 200
    finally:
        jwks.write_bytes(kept)


def test_an_instance_that_comes_later_is_answered_at_once(region: Region, series: str) -> None:
    assert region.get(first_of(series)).status_code == 406
    own = series.split("/")[2]
    late = synthetic(f"{own}.4", study=own, series=f"{own}.9", InstanceNumber=4)
    region.keep(late)
    assert without_boundary(region.get(path_of(late), None)) == without_boundary(
        region.from_archive(path_of(late), None)
    )
    assert region.get(series, None).content.count(b"Content-Type: application/dicom") == 4


def test_the_known_frame_is_304_and_only_for_who_may_see_it(region: Region, series: str) -> None:
    for path, accept in (
        (first_of(series) + "/frames/2", OCTETS),
        (first_of(series), "application/dicom; transfer-syntax=*"),
    ):
        tag = region.get(path, accept).headers["etag"]
        known = {"If-None-Match": f'"other", {tag}'}
        answer = region.get(path, accept, **known)
        assert (answer.status_code, answer.headers["etag"], answer.content) == (304, tag, b"")
        assert region.get(path, accept, **{"If-None-Match": '"other"'}).status_code == 200
        assert region.get(path, accept, token="x", **known).status_code == 401
        assert (
            region.get(path, accept, token=region.token(institutions=["zhidan"]), **known).status_code == 404
        )


def test_two_frames_have_two_tags(region: Region, series: str) -> None:
    tags = {region.get(f"{first_of(series)}/frames/{n}").headers["etag"] for n in range(1, 6)}
    assert len(tags) == 5


@pytest.mark.parametrize("what", ["", "/bulkdata/7FE00010"])
def test_a_part_of_an_instance_or_of_bulk_data_can_be_asked_for(
    region: Region, series: str, what: str
) -> None:
    accept = "application/octet-stream" if what else "application/dicom; transfer-syntax=*"
    whole = region.get(first_of(series) + what, accept)
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, status, expected in (
        ("bytes=10-19", 206, whole.content[10:20]), ("bytes=-5", 206, whole.content[-5:]),
        ("bytes=99999999-", 416, None),
    ):  # fmt: skip
        answer = region.get(first_of(series) + what, accept, Range=asked)
        assert answer.status_code == status
        assert expected is None or answer.content == expected
    changed = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert region.get(first_of(series) + what, accept, **changed).content == whole.content


def test_head_is_get_without_its_body(region: Region, series: str) -> None:
    for path, accept in ((first_of(series) + "/frames/1", OCTETS), (first_of(series), None), (series, None)):
        url = f"{region.door.url}/dicom-web{path}"
        headers = {**region.archive.issuer.bearer(), "Accept": accept or ""}
        answer = region.http.head(url, headers=headers)
        whole = region.http.get(url, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        assert (
            answer.headers["content-type"].partition("boundary")[0]
            == whole.headers["content-type"].partition("boundary")[0]
        )


def test_a_store_that_is_away_is_told_by_the_archive(region: Region, series: str) -> None:
    region.store.away = True
    try:
        for path in (first_of(series) + "/frames/1", first_of(series) + "/frames/1,2", series):
            answer = region.get(path, None)
            # The archive's own connection still works: it takes over.
            assert answer.status_code == 200, path
    finally:
        region.store.away = False


def test_metadata_comes_gzipped_or_plain_is_known_by_its_tag_and_brings_the_map_of_the_frames(
    region: Region, series: str
) -> None:
    path = f"{series}/metadata"
    before = region.figure("pacs_gateway_series_maps_total", result="fetched")
    gzipped, plain = (
        region.get(path, "application/json", **{"Accept-Encoding": one}) for one in ("gzip", "identity")
    )
    assert [one.headers.get("content-encoding") for one in (gzipped, plain)] == ["gzip", None]
    assert gzipped.content == plain.content == region.from_archive(path, "application/json").content
    assert region.figure("pacs_gateway_series_maps_total", result="fetched") == before + 1
    assert region.get(first_of(series) + "/frames/1").status_code == 200
    assert region.figure("pacs_gateway_series_maps_total", result="fetched") == before + 1
    known = {"If-None-Match": gzipped.headers["etag"]}
    assert region.get(path, "application/json", **known).status_code == 304
    assert region.get(path, "application/json", token="x", **known).status_code == 401
    foreign = region.token(institutions=["zhidan"])
    assert region.get(path, "application/json", token=foreign, **known).status_code == 404


def test_metadata_shows_an_instance_within_seconds(region: Region, series: str) -> None:
    own = series.split("/")[2]
    assert len(region.get(f"{series}/metadata", "application/json").json()) == 3
    region.keep(synthetic(f"{own}.4", study=own, series=f"{own}.9", InstanceNumber=4))
    wait_for(
        lambda: len(region.get(f"{series}/metadata", "application/json").json()) == 4,
        20,
        "the fourth instance is there",
    )


def test_http_2_brings_the_same(region: Region, series: str) -> None:
    name = f"pacs.{DOMAIN}:{region.door.port}"
    for path in (first_of(series) + "/frames/1", first_of(series) + "/frames/1,3", first_of(series), series):
        command = [
            program("curl", "apt-get install curl"), "--http2", "--silent", "--show-error", "--include",
            "--cacert", str(region.door.root), "--resolve", f"{name}:127.0.0.1",
            "--header", f"Authorization: Bearer {region.token()}",
            f"https://{name}/dicom-web{path}",
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/2 200")
        boundary = head.decode().partition("boundary=")[2].split()[0]
        wanted = without_boundary(region.from_archive(path, None))[2]
        assert body.replace(boundary.encode(), b"BOUNDARY") == wanted
