"""The lines that the gateway reads: absolute ranges, work marked as such, and a version that names the content."""

from dataclasses import replace

import pytest

from services.archive.index.records import StoredInstance
from services.archive.reading.series_map import MAX_LISTED_FRAMES, write_map
from services.archive.reading.signing import CUSTOMER, SignedGet

NATIVE, JPEG, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.2"


class Notary:
    """Signs with a number that grows; what has a key id is encrypted with it."""

    def __init__(self) -> None:
        self.signed = 0

    def sign(self, key: str, key_id: str | None) -> SignedGet:
        self.signed += 1
        headers = {CUSTOMER + "key": key_id, CUSTOMER + "key-md5": "bWQ1"} if key_id else {}
        return SignedGet(f"/b/{key}?n={self.signed}", 1000 - self.signed, headers)


def stored(**changes: object) -> StoredInstance:
    one = StoredInstance(
        "yanan", "centre", "1.2", "1.2.3", "1.2.3.4", "1.2.840.10008.5.1.4.1.1.2", NATIVE, "packs/a", 100, 900, 50,
        200, 320, ((200, 160), (360, 160)), "d" * 64, None,
    )  # fmt: skip
    return replace(one, **changes)  # type: ignore[arg-type]


def line(one: StoredInstance) -> list[str]:
    text, _ = write_map("yanan", [one], Notary())
    return text.splitlines()[2].split(" ")


def test_a_map_names_every_pack_once_and_every_instance_in_its_order() -> None:
    instances = [
        stored(), stored(sop_instance_uid="1.2.3.5", object_key="packs/b", offset=8),
        stored(sop_instance_uid="1.2.3.6", offset=1000),
    ]  # fmt: skip
    text, version = write_map("yanan", instances, Notary())
    head, *lines = text.splitlines()
    assert head == f"pacs-map 1 {version} 998 3"
    assert lines[:2] == ["P /b/packs/a?n=1 - -", "P /b/packs/b?n=2 - -"]
    assert [entry.split(" ")[:5] for entry in lines[2:]] == [
        ["I", "1.2.3.4", "1", "100", "900"], ["I", "1.2.3.5", "2", "8", "900"], ["I", "1.2.3.6", "1", "1000", "900"],
    ]  # fmt: skip


def test_the_key_of_an_encrypted_pack_goes_with_it() -> None:
    text, _ = write_map("yanan", [stored(key_id="k1")], Notary())
    assert text.splitlines()[1] == "P /b/packs/a?n=1 k1 bWQ1"


def test_ranges_count_from_the_start_of_the_object() -> None:
    assert line(stored())[-2:] == ["300:320", "=300:160:2"]


def test_frames_of_unequal_lengths_are_listed() -> None:
    frames = ((200, 160), (368, 17))
    assert line(stored(transfer_syntax=JPEG, frames=frames))[-2:] == [
        "-", "@" + f"{300:010x}{160:08x}{468:010x}{17:08x}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "frames",
    [
        (), ((200, 0),), ((200, 10), (215, 0)), tuple((200 + 20 * n, 10 + n % 2) for n in range(MAX_LISTED_FRAMES + 1)),
        ((1 << 40, 10), ((1 << 40) + 11, 9)), ((0, 1 << 32), (1 << 33, 7)),
    ],
)  # fmt: skip
def test_frames_that_cannot_be_given_as_ranges_need_work(frames: tuple[tuple[int, int], ...]) -> None:
    assert line(stored(frames=frames))[-1] == "-"


@pytest.mark.parametrize(
    "changes", [{"transfer_syntax": BIG_ENDIAN}, {"transfer_syntax": JPEG}, {"pixel_length": 0}]
)
def test_pixels_that_do_not_lie_as_they_are_given_need_work(changes: dict[str, object]) -> None:
    assert line(stored(**changes))[-2] == "-"


def test_the_version_names_everything_but_the_signatures() -> None:
    notary = Notary()
    versions = {write_map("yanan", [stored()], notary)[1] for _ in range(2)}
    assert len(versions) == 1
    others = [
        write_map("zhidan", [stored()], notary)[1], write_map("yanan", [stored(offset=101)], notary)[1],
        write_map("yanan", [stored(object_key="packs/c")], notary)[1],
        write_map("yanan", [stored(key_id="k1")], notary)[1],
        write_map("yanan", [stored(), stored(sop_instance_uid="1.9")], notary)[1],
    ]  # fmt: skip
    assert len(versions | set(others)) == 6


def test_a_tag_names_the_bytes() -> None:
    tags = {
        line(one)[6]
        for one in (stored(), stored(offset=101), stored(length=901), stored(object_key="packs/c"))
    }
    assert len(tags) == 4
    assert line(stored(sop_instance_uid="1.9"))[6] in tags
