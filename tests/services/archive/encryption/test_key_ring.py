"""Data keys: made once, stored wrapped, opened only by the region's own wrapping key and only as what they are."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from services.archive.encryption.data_key import WrappedKey
from services.archive.encryption.key_ring import FRESH_SECONDS
from services.archive.encryption.wrapping_keys import FileKeyProvider, WrappingKeys
from services.archive.errors import IndexUnavailable
from services.archive.ports import KeyUnusable, StoreUnavailable
from tests.services.archive.encryption.keys import MADE_AT, Region, TurnedClock, write_wrapping_keys
from tests.services.archive.s3_double import S3Double

LATER = "2026-02-01T00:00:00.000000Z"


class MemoryRegister:
    """`KeyRegister` in a dictionary; `away`: the database does not answer."""

    def __init__(self) -> None:
        self.kept: dict[str, WrappedKey] = {}
        self.away = False

    def save(self, key: WrappedKey) -> None:
        if self.away:
            raise IndexUnavailable("away", action="again")
        self.kept[key.object_key] = key

    def all(self) -> list[WrappedKey]:
        return list(self.kept.values())

    def remove(self, key: WrappedKey) -> None:
        self.kept.pop(key.object_key, None)


@pytest.fixture
def region(tmp_path: Path) -> Region:
    write_wrapping_keys(tmp_path / "keys.json")
    return Region(S3Double(), tmp_path / "keys.json", TurnedClock(), MemoryRegister())


def replace(region: Region, name: str, document: bytes) -> None:
    """What somebody with the bucket can do: put other bytes under a name."""
    region.clear.delete(name)
    region.clear.put(name, io.BytesIO(document), len(document), sha256(document).hexdigest())


def test_a_key_is_made_on_first_use_and_is_the_same_ever_after(region: Region) -> None:
    assert region.ring.all("yanan") == ()
    made = region.ring.for_writing("yanan")
    assert region.ring.for_writing("yanan") == made
    again = Region(region.client, region.wrapping_keys, region.clock)
    assert again.ring.for_writing("yanan") == made
    assert len(made.material) == 32


def test_a_stored_key_shows_nothing_of_the_clear_one(region: Region) -> None:
    made = region.ring.for_writing("yanan")
    (name,) = region.clear.list("keys/")
    document = region.clear.read(name, 0, region.clear.size(name))
    assert made.material not in document
    assert json.loads(document)["institution"] == "yanan"
    assert made.material.hex() not in repr(made)
    assert name.startswith(f"keys/yanan/{made.key_id}/")


def test_a_key_is_durable_in_the_bucket_before_it_is_used(region: Region) -> None:
    def refuse(**_: object) -> None:
        raise OSError("the store is away")

    region.client.put_object = refuse
    with pytest.raises(Exception, match="away"):
        region.ring.for_writing("yanan")
    assert region.ring.all("yanan") == ()


@pytest.mark.parametrize("field", ["institution", "key_id", "created_at"])
def test_a_wrapped_key_in_the_place_of_another_does_not_open(region: Region, field: str) -> None:
    region.ring.for_writing("yanan")
    (name,) = region.clear.list("keys/")
    document = json.loads(region.clear.read(name, 0, region.clear.size(name)))
    document[field] = "another" if field != "created_at" else "2027-01-01T00:00:00.000000Z"
    forged = WrappedKey.parse(json.dumps(document).encode(), "a forgery")
    region.clear.delete(name)
    replace(region, forged.object_key, forged.document())
    with pytest.raises(KeyUnusable, match="does not open"):
        Region(region.client, region.wrapping_keys, region.clock).ring.for_writing(forged.institution)


def test_a_document_under_another_name_than_its_own_is_refused(region: Region) -> None:
    region.ring.for_writing("yanan")
    (name,) = region.clear.list("keys/")
    document = region.clear.read(name, 0, region.clear.size(name))
    replace(region, "keys/other/" + name.split("/", 2)[2], document)
    with pytest.raises(KeyUnusable, match="holds another key"):
        region.ring.for_writing("other")


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b"null", b'{"format":2}', b"\xff", b'{"format":1,"region":"local"}']
)
def test_a_damaged_document_is_told_and_hides_no_other_key(region: Region, document: bytes) -> None:
    first = region.ring.for_writing("yanan")
    replace(region, "keys/yanan/ffff/eeee.json", document)
    again = Region(region.client, region.wrapping_keys, region.clock)
    assert again.ring.for_writing("yanan") == first
    with pytest.raises(KeyUnusable):
        again.ring.find("yanan", "ffff")


def test_lost_keys_are_never_replaced_by_a_new_one(region: Region) -> None:
    region.ring.for_writing("yanan")
    write_wrapping_keys(region.wrapping_keys)
    stranger = Region(region.client, region.wrapping_keys, region.clock)
    with pytest.raises(KeyUnusable, match="escrow"):
        stranger.ring.for_writing("yanan")
    assert len(list(region.clear.list("keys/"))) == 1


def test_wrapping_keys_of_another_region_are_refused(region: Region) -> None:
    write_wrapping_keys(region.wrapping_keys, region="elsewhere")
    with pytest.raises(KeyUnusable, match="'elsewhere'"):
        region.ring.for_writing("yanan")


def test_a_key_that_another_process_made_is_used_within_a_minute_and_found_at_once(region: Region) -> None:
    first = region.ring.for_writing("yanan")
    other = Region(region.client, region.wrapping_keys, region.clock)
    region.clock.turn(1)
    second = other.ring.make("yanan")
    assert region.ring.for_writing("yanan") == first
    assert region.ring.find("yanan", second.key_id) == second
    region.clock.turn(FRESH_SECONDS + 1)
    assert region.ring.for_writing("yanan") == second
    assert [key.key_id for key in region.ring.all("yanan")] == [second.key_id, first.key_id]


def test_the_database_gets_each_key_and_gives_back_what_the_bucket_lost(region: Region) -> None:
    register = region.register
    assert isinstance(register, MemoryRegister)
    made = region.ring.for_writing("yanan")
    assert list(register.kept) == list(region.clear.list("keys/"))
    region.client.objects.clear()
    region.ring.reconcile()
    assert Region(region.client, region.wrapping_keys, region.clock).ring.for_writing("yanan") == made


def test_a_key_is_made_while_the_database_is_away_which_gets_it_later(region: Region) -> None:
    register = region.register
    assert isinstance(register, MemoryRegister)
    register.away = True
    made = region.ring.for_writing("yanan")
    assert register.kept == {}
    register.away = False
    region.ring.reconcile()
    assert [key.key_id for key in register.all()] == [made.key_id]


def rotate(region: Region) -> WrappingKeys:
    """Add a wrapping key to the file, as the operator's machine does."""
    path = region.wrapping_keys
    return write_wrapping_keys(path, WrappingKeys.parse(path.read_bytes(), "x").rotated(LATER))


def wrapped_by(region: Region) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in region.ring.stored():
        found.setdefault(one.key_id, set()).add(one.wrapping_key_id)
    return found


def test_the_wrapping_key_rotates_in_place(region: Region) -> None:
    register = region.register
    assert isinstance(register, MemoryRegister)
    before = [region.ring.for_writing(name) for name in ("yanan", "other")]
    new = rotate(region)
    result = region.ring.rewrap()
    assert (result.data_keys, result.wrapped, result.removed, result.closed) == (2, 2, 2, 0)
    assert set(map(frozenset, wrapped_by(region).values())) == {frozenset({new.current.key_id})}
    assert sorted(register.kept) == list(region.clear.list("keys/"))
    write_wrapping_keys(region.wrapping_keys, new.only_current())
    fresh = Region(region.client, region.wrapping_keys, region.clock)
    assert [fresh.ring.for_writing(name) for name in ("yanan", "other")] == before
    assert fresh.ring.rewrap().wrapped == 0


@pytest.mark.parametrize("steps", range(8))
def test_a_rotation_that_was_cut_off_anywhere_loses_no_key_and_goes_on(region: Region, steps: int) -> None:
    before = [region.ring.for_writing(name) for name in ("yanan", "other")]
    old = WrappingKeys.parse(region.wrapping_keys.read_bytes(), "x").current.key_id
    new = rotate(region)
    left = [steps]

    def limited(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(**arguments: Any) -> Any:
            if left[0] == 0:
                raise OSError("cut off")
            left[0] -= 1
            return call(**arguments)

        return called

    real = region.client.put_object, region.client.delete_object
    region.client.put_object, region.client.delete_object = map(limited, real)
    with contextlib.suppress(StoreUnavailable):
        region.ring.rewrap()
    region.client.put_object, region.client.delete_object = real
    openable = {old, new.current.key_id}
    assert all(by & openable for by in wrapped_by(region).values())
    region.ring.rewrap()
    assert set(map(frozenset, wrapped_by(region).values())) == {frozenset({new.current.key_id})}
    fresh = Region(region.client, region.wrapping_keys, region.clock)
    assert [fresh.ring.for_writing(name) for name in ("yanan", "other")] == before


def test_a_process_with_the_old_file_takes_nothing_of_the_new_back(region: Region, tmp_path: Path) -> None:
    region.ring.for_writing("yanan")
    (tmp_path / "old.json").write_bytes(region.wrapping_keys.read_bytes())
    late = Region(region.client, tmp_path / "old.json", region.clock)
    new = rotate(region)
    region.ring.rewrap()
    assert late.ring.rewrap().closed == 1
    assert set(map(frozenset, wrapped_by(region).values())) == {frozenset({new.current.key_id})}


def test_old_wrappings_stay_while_one_data_key_does_not_open(region: Region) -> None:
    region.ring.for_writing("yanan")
    old = write_wrapping_keys(region.wrapping_keys)
    region.ring.for_writing("other")
    write_wrapping_keys(region.wrapping_keys, old.rotated(LATER))
    result = region.ring.rewrap()
    assert (result.wrapped, result.closed, result.removed) == (1, 1, 0)


def test_a_damaged_wrapping_is_counted_and_the_other_keys_are_wrapped_anew(region: Region) -> None:
    region.ring.for_writing("yanan")
    region.ring.for_writing("other")
    damaged = next(one for one in region.ring.stored() if one.institution == "other")
    forged = dataclasses.replace(damaged, wrapped=bytes(len(damaged.wrapped)))
    replace(region, forged.object_key, forged.document())
    rotate(region)
    result = region.ring.rewrap()
    assert (result.wrapped, result.closed, result.removed) == (1, 1, 0)


def test_two_processes_that_wrap_anew_at_once_both_succeed(region: Region) -> None:
    made = region.ring.for_writing("yanan")
    new = rotate(region)
    other = Region(region.client, region.wrapping_keys, region.clock)
    real = region.client.put_object

    def other_first(**arguments: Any) -> Any:
        region.client.put_object = real
        other.ring.rewrap()
        return real(**arguments)

    region.client.put_object = other_first
    assert region.ring.rewrap().closed == 0
    assert wrapped_by(region) == {made.key_id: {new.current.key_id}}


def test_the_key_of_an_object_follows_from_its_name_and_purpose(region: Region) -> None:
    key = region.ring.for_writing("yanan")
    assert key.derive("sse-c", "packs/a") == key.derive("sse-c", "packs/a")
    assert len({key.derive(p, n) for p in ("sse-c", "copy") for n in ("packs/a", "packs/b")}) == 4


SHORT_KEY = b'{"format":1,"region":"local","keys":[{"id":"a","created_at":"b","key":"c2hvcnQ="}]}'


@pytest.mark.parametrize("document", [b"", b"{}", b'{"format":1,"region":"local","keys":[]}', SHORT_KEY])
def test_a_file_that_holds_no_wrapping_keys_is_told_with_what_to_do(tmp_path: Path, document: bytes) -> None:
    (tmp_path / "keys.json").write_bytes(document)
    with pytest.raises(KeyUnusable, match="keys restore"):
        FileKeyProvider(tmp_path / "keys.json", "local").current()


def test_a_wrapping_keys_file_is_read_back_as_it_was_written() -> None:
    keys = WrappingKeys.generate("local", MADE_AT).rotated("2026-02-01T00:00:00.000000Z")
    assert WrappingKeys.parse(keys.document(), "x") == keys
    assert keys.current.created_at.startswith("2026-02")
    assert keys.only_current().keys == keys.keys[:1]
    assert keys.current.material.hex() not in repr(keys)
