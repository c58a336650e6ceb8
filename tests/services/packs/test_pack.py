"""Rules of `services.packs.pack` and `.footer`: packs are read back, and what was altered is detected."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.packs.footer import Footer, PackError, check_label, pack_key
from services.packs.instance import scan
from services.packs.pack import END, MAGIC, TRAILER, PackWriter, footer_of, read_footer, sha256_of, verify
from tests.services.packs.synthetic import STUDY, ct

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def write_pack(path: Path, bodies: list[bytes], *, study: str = STUDY) -> Footer:
    with path.open("wb") as file:
        writer = PackWriter(file, region="local", institution="yanan", site="yanchang", study_uid=study)
        for body in bodies:
            writer.add(
                body,
                scan(body),
                received_at="2025-03-01T11:59:59.000000Z",
                calling_ae="CT1",
                called_ae="PACS",
            )
        return writer.finish(NOON)


def slices(count: int) -> list[bytes]:
    return [ct(f"{STUDY}.1.{number}", pixels=bytes([number]) * 48) for number in range(1, count + 1)]


def test_a_pack_gives_back_each_instance_byte_for_byte(tmp_path: Path) -> None:
    bodies = slices(3)
    written = write_pack(tmp_path / "p", bodies)
    content = (tmp_path / "p").read_bytes()
    footer = footer_of(tmp_path / "p")
    assert footer == written == verify(tmp_path / "p")
    assert [content[i.offset : i.offset + i.length] for i in footer.instances] == bodies
    for entry, body in zip(footer.instances, bodies, strict=True):
        offset, length = entry.frames[0]
        assert content[entry.offset + offset : entry.offset + offset + length] == body[-48:]


def test_the_layout_is_the_one_that_the_contract_describes(tmp_path: Path) -> None:
    footer = write_pack(tmp_path / "p", slices(2))
    content = (tmp_path / "p").read_bytes()
    length = int.from_bytes(content[-48:-40], "little")
    encoded = content[-48 - length : -48]
    assert (content[:8], content[-8:]) == (b"PACSPK01", b"PACSEND1")
    assert content[-40:-8] == sha256(encoded).digest()
    document = json.loads(encoded)
    assert encoded == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert document["format"] == 1
    assert document["sealed_at"] == "2025-03-01T12:00:00.000000Z"
    assert footer.pack_id == sha256(encoded).hexdigest()
    assert footer.key == f"packs/yanan/{footer.pack_id[:2]}/{footer.pack_id}.pack"
    assert sha256_of(tmp_path / "p") == sha256(content).hexdigest()


def test_every_truncation_of_a_pack_is_detected(tmp_path: Path) -> None:
    write_pack(tmp_path / "p", slices(2))
    whole = (tmp_path / "p").read_bytes()
    cut = tmp_path / "cut"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(PackError):
            verify(cut)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_of_a_pack_is_detected(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "p"
    write_pack(path, slices(2))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(PackError):
        verify(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=st.lists(st.binary(min_size=48, max_size=48), min_size=1, max_size=6))
def test_whatever_is_packed_is_verified_and_read_back(tmp_path: Path, pixels: list[bytes]) -> None:
    bodies = [ct(f"{STUDY}.1.{n}", pixels=value) for n, value in enumerate(pixels, start=1)]
    write_pack(tmp_path / "p", bodies)
    content = (tmp_path / "p").read_bytes()
    footer = verify(tmp_path / "p")
    assert [content[i.offset : i.offset + i.length] for i in footer.instances] == bodies


def test_a_footer_can_be_read_through_range_requests_alone(tmp_path: Path) -> None:
    written = write_pack(tmp_path / "p", slices(2))
    content = (tmp_path / "p").read_bytes()
    asked: list[int] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return content[offset : offset + length]

    assert read_footer(read, len(content)) == written
    assert len(asked) == 2


def test_a_preamble_is_zeroed_when_it_is_packed_and_refused_when_somebody_else_packed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"\x7fELF" + ct()[4:]
    footer = write_pack(tmp_path / "p", [body])
    content = (tmp_path / "p").read_bytes()
    assert content[8 : 8 + footer.instances[0].length] == bytes(4) + body[4:]
    assert footer.instances[0].digest == scan(body).digest
    monkeypatch.setattr("services.packs.pack.PREAMBLE", body[:128])
    write_pack(tmp_path / "p", [body])
    monkeypatch.undo()
    with pytest.raises(PackError, match="preamble"):
        verify(tmp_path / "p")


def test_an_instance_of_another_study_is_not_packed() -> None:
    writer = PackWriter(io.BytesIO(), region="local", institution="yanan", site="a", study_uid="1.2")
    body = ct()
    with pytest.raises(ValueError, match="does not belong"):
        writer.add(body, scan(body), received_at="", calling_ae="", called_ae="")


def rewritten(path: Path, **changes: object) -> None:
    """The pack with another footer whose own digest is right: only its content can give it away."""
    content = path.read_bytes()
    length = TRAILER.unpack(content[-TRAILER.size :])[0]
    start = len(content) - TRAILER.size - length
    document = json.loads(content[start : start + length])
    entry = {k: v for k, v in changes.items() if k in document["instances"][0]}
    document["instances"][0].update(entry)
    document.update({k: v for k, v in changes.items() if k not in entry})
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    path.write_bytes(content[:start] + encoded + TRAILER.pack(len(encoded), sha256(encoded).digest(), END))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"institution": "../other"},
        {"institution": "Yanan"},
        {"study_uid": "9.9"},
        {"study_uid": "../1"},
        {"region": 5},
        {"key_id": 7},
        {"extra": 1},
        {"digest": "0" * 64},
        {"content_digest": "0" * 64},
        {"content_digest": None},
        {"digest": "x"},
        {"pixel_digest": "0" * 64},
        {"sop_instance_uid": "1.2.3"},
        {"sop_instance_uid": "../../x"},
        {"series_uid": "1.2.3"},
        {"frames": []},
        {"frames": [[0, 1 << 40]]},
        {"frames": [[-1, 4]]},
        {"frames": "all"},
        {"offset": 9},
        {"length": True},
        {"pixel_offset": -1},
        {"data_offset": 1},
    ],
)
def test_a_footer_that_lies_with_a_right_digest_of_its_own_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    write_pack(tmp_path / "p", slices(2))
    rewritten(tmp_path / "p")
    verify(tmp_path / "p")
    rewritten(tmp_path / "p", **changes)
    with pytest.raises(PackError):
        verify(tmp_path / "p")


def test_a_footer_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(PackError, match="JSON"):
        Footer.decode(b"[" * 100_000)
    with pytest.raises(PackError, match="format"):
        Footer.decode(b"[]")


def test_a_declared_footer_length_beyond_the_file_is_refused() -> None:
    content = MAGIC + TRAILER.pack(1 << 60, bytes(32), END)
    with pytest.raises(PackError, match="cannot be"):
        read_footer(lambda offset, length: content[offset : offset + length], len(content))


@pytest.mark.parametrize("label", ["", "-a", "a-", "A", "a.b", "a/b", "..", "a" * 64, "é"])
def test_a_name_that_is_no_dns_label_never_becomes_a_key(label: str) -> None:
    with pytest.raises(PackError):
        check_label(label, "institution")
    with pytest.raises(PackError):
        pack_key(label, "0" * 64)


@pytest.mark.parametrize("pack_id", ["", "0" * 63, "g" * 64, "A" * 64, "../" + "0" * 61])
def test_a_pack_id_that_is_no_digest_never_becomes_a_key(pack_id: str) -> None:
    with pytest.raises(PackError):
        pack_key("yanan", pack_id)
