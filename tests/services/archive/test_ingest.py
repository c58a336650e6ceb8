"""Rules of ingest (contracts, section 7): a pack is taken whole and signed for, or refused with the right reason."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.archive.adapters.memory_index import MemoryIndex
from services.archive.adapters.memory_store import MemoryStore
from services.archive.errors import IndexUnavailable
from services.archive.incoming import Incoming
from services.archive.ingest.service import Branch, IngestService
from services.archive.ports import StoreOutOfRoom, StoreUnavailable
from services.common.errors import TooManyRequests
from services.packs.instance import scan
from services.packs.pack import Footer, PackWriter
from services.packs.receipts import ReceiptSigner
from tests.services.archive.harness import GATEWAY_KEY, Harness, harness
from tests.services.archive.samples import synthetic

__all__ = ["harness"]

SENT = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)


def pack(
    *files: bytes, region: str = "local", institution: str = "yanan", site: str = "yanchang"
) -> tuple[Footer, bytes]:
    """A sealed pack of these files."""
    stream = io.BytesIO()
    writer = PackWriter(
        stream, region=region, institution=institution, site=site, study_uid=scan(files[0]).study_uid
    )
    for one in files:
        writer.add(
            one, scan(one), received_at="2025-03-01T08:00:00.000000Z", calling_ae="CT1", called_ae="PACS"
        )
    return writer.finish(SENT), stream.getvalue()


def send(
    harness: Harness, pack_id: str, body: bytes, method: str = "PUT", **changes: str | None
) -> httpx.Response:
    headers = {
        "X-Pacs-Gateway-Key": GATEWAY_KEY, "X-Pacs-Client-Institution": "yanan", "X-Pacs-Client-Site": "yanchang",
    } | {name.replace("_", "-"): value for name, value in changes.items()}  # fmt: skip
    return harness.internal.request(
        method,
        f"/ingest/v1/packs/{pack_id}",
        content=body,
        headers={name: value for name, value in headers.items() if value is not None},
    )


def payload(receipt: str) -> dict[str, Any]:
    middle = receipt.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


def test_a_pack_is_stored_indexed_and_signed_for(harness: Harness) -> None:
    footer, body = pack(synthetic("1.1"), synthetic("1.2"))
    answer = send(harness, footer.pack_id, body)
    assert answer.status_code == 200
    assert answer.json()["pack_id"] == footer.pack_id
    receipts = [payload(one) for one in answer.json()["receipts"]]
    assert [one["sop_instance_uid"] for one in receipts] == ["1.1", "1.2"]
    assert {(one["region"], one["institution"], one["site"], one["epoch"]) for one in receipts} == {
        ("local", "yanan", "yanchang", 1)
    }
    assert [one["digest"] for one in receipts] == [entry.digest for entry in footer.instances]
    assert {one["key_id"] for one in receipts} == {ReceiptSigner(harness.key).key_id}
    assert harness.store.read(footer.key, 0, len(body)) == body
    assert harness.get("/studies/1.2.3/metadata").status_code == 200
    assert list((harness.directory / "spool" / "incoming").iterdir()) == []


def test_the_same_pack_again_answers_the_same_receipts(harness: Harness) -> None:
    footer, body = pack(synthetic("1.1"))
    assert send(harness, footer.pack_id, b"", "HEAD").status_code == 404
    first = send(harness, footer.pack_id, body).json()
    assert send(harness, footer.pack_id, body).json() == first
    assert send(harness, footer.pack_id, b"", "GET").json() == first
    known = send(harness, footer.pack_id, b"", "HEAD")
    assert (known.status_code, known.content) == (200, b"")


def test_another_institutions_receipts_are_not_told(harness: Harness) -> None:
    footer, body = pack(synthetic("1.1"))
    send(harness, footer.pack_id, body)
    assert send(harness, footer.pack_id, b"", "GET", X_Pacs_Client_Institution="zhidan").status_code == 404


def test_a_new_epoch_asks_for_the_pack_again_and_signs_anew(harness: Harness, tmp_path: Path) -> None:
    footer, body = pack(synthetic("1.1"))
    send(harness, footer.pack_id, body)
    harness.close()
    restored = Harness(tmp_path, store=harness.store, index=harness.index, epoch=2)
    try:
        assert send(restored, footer.pack_id, b"", "GET").status_code == 404
        [receipt] = send(restored, footer.pack_id, body).json()["receipts"]
        assert payload(receipt)["epoch"] == 2
    finally:
        restored.close()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"X_Pacs_Gateway_Key": None}, 401), ({"X_Pacs_Gateway_Key": "guess"}, 401), ({"X_Pacs_Gateway_Key": ""}, 401),
        ({"X_Pacs_Client_Institution": None}, 401), ({"X_Pacs_Client_Site": "../x"}, 401),
        ({"X_Pacs_Client_Institution": "zhidan"}, 403), ({"X_Pacs_Client_Site": "luochuan"}, 403),
    ],
)  # fmt: skip
def test_only_the_gateways_word_counts_for_who_sends(
    harness: Harness, changes: dict[str, str | None], status: int
) -> None:
    footer, body = pack(synthetic("1.1"))
    answer = send(harness, footer.pack_id, body, **changes)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(harness.store.list("packs/")) == []


def test_a_token_opens_no_ingest_and_the_public_listener_has_none(harness: Harness) -> None:
    footer, body = pack(synthetic("1.1"))
    path = f"/ingest/v1/packs/{footer.pack_id}"
    assert harness.http.put(path, content=body, headers=harness.issuer.bearer()).status_code == 404
    assert harness.internal.put(path, content=body, headers=harness.issuer.bearer()).status_code == 401


def test_a_branch_has_no_ingest_routes(tmp_path: Path) -> None:
    branch = Harness(tmp_path, gateway_key_file=None, receipt_key_file=None, receipt_certificate_file=None)
    try:
        assert send(branch, "0" * 64, b"").status_code == 404
    finally:
        branch.close()


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize("place", [0, 9, 400, -100, -60, -20, -1])
def test_one_flipped_bit_anywhere_is_refused(harness: Harness, place: int) -> None:
    footer, body = pack(synthetic("1.1"))
    answer = send(harness, footer.pack_id, flipped(body, place % len(body)))
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:pacs:problem:pack-refused"
    assert list(harness.store.list("packs/")) == []
    assert harness.get("/studies").status_code == 204


@pytest.mark.parametrize("body", [b"", b"PACSPK01", bytes(1000), b"x" * 47])
def test_what_is_no_pack_is_refused(harness: Harness, body: bytes) -> None:
    assert send(harness, "0" * 64, body).status_code == 400


def test_a_pack_under_another_id_or_of_another_region_is_refused(harness: Harness) -> None:
    footer, body = pack(synthetic("1.1"))
    assert send(harness, "0" * 64, body).status_code == 400
    assert send(harness, "../../etc/passwd", body).status_code in (400, 404)
    assert send(harness, footer.pack_id.upper(), body).status_code == 400
    foreign, other = pack(synthetic("1.1"), region="elsewhere")
    assert send(harness, foreign.pack_id, other).status_code == 400


def test_a_body_without_length_or_too_long_is_refused_unread(harness: Harness) -> None:
    def stream() -> Any:
        yield b"x"

    headers = {
        "X-Pacs-Gateway-Key": GATEWAY_KEY, "X-Pacs-Client-Institution": "yanan", "X-Pacs-Client-Site": "yanchang",
    }  # fmt: skip
    path = "/ingest/v1/packs/" + "0" * 64
    assert harness.internal.put(path, content=stream(), headers=headers).status_code == 411
    too_long = headers | {"Content-Length": str((4 << 30) + 1)}
    assert harness.internal.put(path, content=stream(), headers=too_long).status_code == 413


@pytest.mark.parametrize("missing", [1, 200])
def test_a_body_shorter_than_announced_blames_the_line_and_not_the_pack(
    harness: Harness, missing: int
) -> None:
    footer, body = pack(synthetic("1.1"))
    answer = send(harness, footer.pack_id, body[:-missing], content_length=str(len(body)))
    assert answer.status_code == 503
    assert answer.json()["detail"] == f"{len(body)} bytes were announced, {len(body) - missing} came."
    assert answer.json()["action"]
    assert answer.headers["retry-after"]
    assert list(harness.store.list("packs/")) == []


def test_conflicting_instances_are_kept_and_signed_for(harness: Harness) -> None:
    for content in (synthetic("1.1"), synthetic("1.1", pixels=bytes(32))):
        footer, body = pack(content)
        assert send(harness, footer.pack_id, body).status_code == 200
    assert len(harness.get("/studies/1.2.3/conflicts").json()) == 1


class AwayIndex(MemoryIndex):
    """An index that does not answer."""

    def commit(self, *_: Any) -> Any:
        raise IndexUnavailable("The index database does not answer.")


class FailingStore(MemoryStore):
    """A store that fails as told."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def put(self, *_: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"index": AwayIndex()}, 503), ({"store": FailingStore(StoreUnavailable("away"))}, 503),
        ({"store": FailingStore(StoreOutOfRoom("full"))}, 507), ({"spool_reserve_bytes": 1 << 60}, 507),
    ],
)  # fmt: skip
def test_a_dependency_that_fails_gives_no_receipt_and_says_when_to_come_back(
    tmp_path: Path, parts: dict[str, Any], status: int
) -> None:
    centre = Harness(tmp_path, **parts)
    try:
        footer, body = pack(synthetic("1.1"))
        answer = send(centre, footer.pack_id, body)
        assert answer.status_code == status
        assert int(answer.headers["retry-after"]) > 0
        assert "receipts" not in answer.json()
    finally:
        centre.close()


def test_thin_lines_fill_their_own_sites_places_and_no_others(harness: Harness) -> None:
    service = IngestService(
        harness.archive.sink, harness.index, Incoming(harness.directory / "bodies", 0), harness.metrics,
        region="local", epoch=1, bodies=2, commits=1,
    )  # fmt: skip

    async def take(footer: Footer, body: bytes, pieces: AsyncIterator[bytes]) -> list[str]:
        branch = Branch(footer.institution, footer.site)
        return await service.take(branch, footer.pack_id, len(body), pieces)

    async def whole(body: bytes) -> AsyncIterator[bytes]:
        yield body

    async def send_all() -> None:
        arrived, gate = asyncio.Semaphore(0), asyncio.Event()

        async def thin(body: bytes) -> AsyncIterator[bytes]:
            yield body[:100]
            arrived.release()
            await gate.wait()
            yield body[100:]

        packs = [pack(synthetic(f"1.{number}")) for number in range(1, 4)]
        slow = [asyncio.create_task(take(footer, body, thin(body))) for footer, body in packs[:2]]
        for _ in slow:
            await arrived.acquire()
        with pytest.raises(TooManyRequests, match="2 packs of this site"):
            await take(*packs[2], whole(packs[2][1]))
        other = pack(synthetic("2.1"), site="zhidan")
        assert len(await take(*other, whole(other[1]))) == 1
        gate.set()
        assert [len(receipts) for receipts in await asyncio.gather(*slow)] == [1, 1]
        assert len(await take(*packs[2], whole(packs[2][1]))) == 1

    asyncio.run(send_all())
