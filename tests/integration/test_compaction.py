"""Compaction and sweep on real PostgreSQL: whichever step a crash ends, nothing is lost, and what is left goes on."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.archive.adapters.memory_store import MemoryStore
from services.archive.adapters.postgres_compaction import PostgresCompaction
from services.archive.adapters.postgres_copies import PostgresCopyQueue
from services.archive.adapters.postgres_index import PostgresIndex
from services.archive.adapters.postgres_ledger import PostgresLedger
from services.archive.errors import Busy
from services.archive.index.rebuild import enter_missing
from services.archive.migrate import migrate
from services.archive.tombstones.burial import Burial
from services.archive.upkeep.check import Check, Progress
from services.archive.upkeep.compaction import Compacted, Compaction
from services.archive.upkeep.plan import Rules
from services.archive.upkeep.sweep import Sweep, Swept
from services.common.clock import SystemClock
from services.packs.instance import scan
from tests.integration.archive_process import ArchiveProcess
from tests.integration.postgres import PostgresServer, database, postgres
from tests.integration.test_archive_end_to_end import eventually, send, stored
from tests.integration.test_upkeep import answers, check, chore, delete, packs
from tests.services.archive.harness import AS_STORED, Harness, parts_of
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NOW = timedelta(0)


class Crash(BaseException):
    """The process ends here."""


class Stand:
    """A centre on PostgreSQL: one study in five packs, an instance twice, a second version, one deleted."""

    def __init__(self, directory: Path, dsn: str) -> None:
        migrate(dsn)
        self.dsn, self.directory = dsn, directory
        self.store, self.index = MemoryStore(), PostgresIndex(dsn)
        self.harness = Harness(directory, store=self.store, index=self.index)
        self.harness.keep(synthetic("1.1"), synthetic("1.2", InstanceNumber=2))
        self.harness.keep(synthetic("1.3", InstanceNumber=3), synthetic("1.1"))
        self.harness.keep(synthetic("1.1", pixels=bytes(32)))
        self.harness.keep(synthetic("1.4", InstanceNumber=4))
        self.harness.keep(synthetic("1.5", series="1.2.3.2", Modality="MR"))
        answer = self.harness.http.request(
            "DELETE", "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.4", json={"reason": "test"},
            headers=self.harness.issuer.bearer(scope="dicomweb:delete", institutions=["yanan"]),
        )  # fmt: skip
        assert answer.status_code == 200
        self.before = self.read()

    def ledger(self) -> PostgresCompaction:
        return PostgresCompaction(self.dsn)

    def compact(self, store: Any = None, ledger: Any = None) -> Compacted:
        worker = Compaction(
            store or self.store, ledger or self.ledger(), SystemClock(), self.directory / "compaction",
            rules=Rules(keep_hidden=NOW),
        )  # fmt: skip
        return worker.run(datetime.now(UTC))

    def sweep(self, store: Any = None, ledger: Any = None, grace: timedelta = NOW) -> Swept:
        worker = Sweep(
            store or self.store,
            ledger or self.ledger(),
            self.harness.archive.sink,
            SystemClock(),
            grace=grace,
        )
        return worker.run()

    def read(self) -> dict[str, Any]:
        """All that can be asked of the study, and every byte of it."""
        found: dict[str, Any] = {
            path: self.harness.get(path).text
            for path in ("/studies/1.2.3/metadata", "/studies/1.2.3/conflicts", "/studies?includefield=all",
                         "/studies/1.2.3/series?includefield=all")
        }  # fmt: skip
        found["bytes"] = [
            scan(body).digest for _, body in parts_of(self.harness.get("/studies/1.2.3", AS_STORED))
        ]
        for one in self.index.conflicts(None, "1.2.3"):
            where = one.instance
            body = self.store.read(where.object_key, where.offset, where.length)
            found[where.digest] = scan(body).digest
        return found

    def differences(self) -> list[str]:
        worker = Check(self.store, PostgresLedger(self.dsn), SystemClock(), share=1, seed="s", grace=NOW)
        return [str(one) for one in worker.run(Progress()).differences]

    def packs(self) -> list[str]:
        return list(self.store.list("packs/"))

    def is_as_before(self) -> bool:
        return self.read() == self.before and not self.differences()


@pytest.fixture
def stand(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)
    made = Stand(tmp_path, database)
    yield made
    made.harness.close()
    made.index.close()


def test_many_small_packs_become_one_and_every_answer_stays(stand: Stand) -> None:
    old = stand.packs()
    done = stand.compact()
    assert (done.studies, done.old_packs, done.new_packs, done.skipped) == (1, 5, 1, 0)
    assert stand.is_as_before()
    assert set(old) < set(stand.packs()), "readers of the old place are not broken"
    assert stand.sweep(grace=timedelta(hours=1)).removed_packs == 0
    assert stand.sweep().removed_packs == 5
    assert len(stand.packs()) == 1
    assert stand.is_as_before()


def test_dead_bytes_are_gone_and_a_second_run_changes_nothing(stand: Stand) -> None:
    stand.compact()
    stand.sweep()
    [key] = stand.packs()
    content = stand.store.read(key, 0, stand.store.size(key))
    assert (b"1.5\0" in content, b"1.4\0" in content) == (True, False)
    again = stand.compact()
    assert (again.studies, again.new_packs, again.skipped) == (0, 0, 0)
    assert stand.sweep() == Swept()


def test_a_reader_that_knew_the_old_place_reads_on_until_the_grace_is_over(stand: Stand) -> None:
    known = stand.index.instances(None, "1.2.3")
    stand.compact()
    for one in known:
        assert scan(stand.store.read(one.object_key, one.offset, one.length)).digest == one.digest


def test_an_index_made_anew_after_compaction_answers_as_before(
    stand: Stand, postgres: PostgresServer, tmp_path: Path
) -> None:
    stand.compact()
    for between in (False, True):
        if between:
            stand.sweep()
        dsn = postgres.new_database()
        migrate(dsn)
        index = PostgresIndex(dsn)
        (directory := tmp_path / f"anew{between}").mkdir()
        anew = Harness(directory, store=stand.store, index=index)
        Burial(stand.store, index, anew.metrics).enter_missing()
        enter_missing(stand.store, index, anew.archive.sink)
        assert [anew.get(path).text for path in list(stand.before)[:4]] == list(stand.before.values())[:4]
        anew.close()
        index.close()


class Crashing:
    """Passes calls on, and ends the process before or after the call of this name."""

    def __init__(self, inner: Any, name: str, *, after: bool) -> None:
        self._inner, self._name, self._after = inner, name, after

    def __getattr__(self, name: str) -> Any:
        real: Callable[..., Any] = getattr(self._inner, name)
        if name != self._name:
            return real

        def crash(*arguments: Any, **named: Any) -> Any:
            if self._after:
                real(*arguments, **named)
            raise Crash

        return crash


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["stream", "put", "move"])
def test_a_crash_at_any_step_of_compaction_loses_nothing_and_the_next_run_completes_it(
    stand: Stand, step: str, after: bool
) -> None:
    store = Crashing(stand.store, step, after=after)
    ledger = Crashing(stand.ledger(), step, after=after)
    with pytest.raises(Crash):
        stand.compact(store, ledger)
    assert stand.read() == stand.before
    assert {text.split("'")[1] for text in stand.differences()} <= {"missing-row"}
    stand.compact()
    stand.sweep()
    assert len(stand.packs()) == 1
    assert stand.is_as_before()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["delete", "mark_removed"])
def test_a_crash_at_any_step_of_a_sweep_loses_nothing_and_the_next_run_completes_it(
    stand: Stand, step: str, after: bool
) -> None:
    stand.compact()
    store, ledger = (Crashing(inner, step, after=after) for inner in (stand.store, stand.ledger()))
    with pytest.raises(Crash):
        stand.sweep(store, ledger)
    assert stand.is_as_before()
    stand.sweep()
    assert len(stand.packs()) == 1
    assert stand.is_as_before()


def test_a_start_between_object_and_rows_enters_the_new_pack_and_compaction_still_completes(
    stand: Stand,
) -> None:
    with pytest.raises(Crash):
        stand.compact(Crashing(stand.store, "put", after=True))
    assert stand.sweep().entered == 1
    assert stand.read() == stand.before
    assert stand.compact().new_packs == 1
    stand.sweep()
    assert stand.is_as_before()
    assert len(stand.packs()) == 1


def test_a_deletion_that_comes_meanwhile_is_not_undone(stand: Stand) -> None:
    class Slow(PostgresCompaction):
        def move(self, *arguments: Any) -> bool:
            stand.harness.http.request(
                "DELETE", "/dicom-web/studies/1.2.3/series/1.2.3.1/instances/1.2", json={"reason": "late"},
                headers=stand.harness.issuer.bearer(scope="dicomweb:delete", institutions=["yanan"]),
            )  # fmt: skip
            return super().move(*arguments)

    stand.compact(ledger=Slow(stand.dsn))
    assert "1.2" not in [one.sop_instance_uid for one in stand.index.instances(None, "1.2.3")]
    stand.sweep()
    assert stand.differences() == []


def test_a_study_whose_bytes_are_damaged_is_left_alone_and_told(stand: Stand) -> None:
    key = stand.index.instances(None, "1.2.3")[0].object_key
    content = bytearray(stand.store._objects[key])
    content[600] ^= 1
    stand.store._objects[key] = bytes(content)
    done = stand.compact()
    assert (done.skipped, done.new_packs) == (1, 0)
    assert len(stand.packs()) == 5


def test_a_study_of_which_the_index_lacks_an_instance_is_left_alone(stand: Stand) -> None:
    with psycopg.connect(stand.dsn) as connection:
        connection.execute("DELETE FROM instance WHERE sop_instance_uid = '1.5'")
    assert stand.compact().skipped == 1
    assert stand.sweep() == Swept()


def test_receipts_of_the_old_packs_are_answered_still(stand: Stand) -> None:
    old = [Path(key).stem for key in stand.packs()]
    receipts = [stand.index.receipts("yanan", pack_id, 1) for pack_id in old]
    assert all(receipts)
    stand.compact()
    stand.sweep()
    assert [stand.index.receipts("yanan", pack_id, 1) for pack_id in old] == receipts


def test_a_retired_pack_stays_while_what_replaced_it_is_not_there_whole(stand: Stand) -> None:
    old = set(stand.packs())
    stand.compact()
    [new] = set(stand.packs()) - old
    content = stand.store._objects.pop(new)
    swept = stand.sweep()
    assert (swept.removed_packs, len(swept.left)) == (1, 4), "only the pack of what was deleted needs nothing"
    stand.store._objects[new] = content
    assert stand.sweep().removed_packs == 4


def test_only_one_works_at_a_time(stand: Stand) -> None:
    with stand.ledger().alone(), pytest.raises(Busy):
        stand.compact()


def test_the_second_copy_goes_on_beside_it_and_asks_for_no_pack_that_is_gone(stand: Stand) -> None:
    queue = PostgresCopyQueue(stand.dsn)
    try:
        assert queue.lead()
        assert stand.compact().new_packs == 1
        stand.sweep()
        assert [one.object_key for one in queue.due(100, None)] == stand.packs()
        assert queue.waiting().packs == 1
    finally:
        queue.close()


def put(store: MemoryStore, name: str, content: bytes) -> str:
    key = f"packs/yanan/{name[:2]}/{name}.pack"
    store.put(key, io.BytesIO(content), len(content), sha256(content).hexdigest())
    return key


def test_what_is_provably_no_pack_is_removed_and_what_may_be_one_is_left(stand: Stand) -> None:
    rubbish = put(stand.store, "0" * 64, b"neither begins nor ends as a pack, whatever it is")
    whole = stand.store._objects[stand.packs()[1]]
    half = put(stand.store, "1" * 64, whole[: len(whole) // 2])
    tail = put(stand.store, "2" * 64, b"x" * 40 + whole[-48:])
    swept = stand.sweep(grace=timedelta(hours=1))
    assert (swept.removed_rubbish, swept.left) == (0, []), "an object that was just put is not judged"
    swept = stand.sweep()
    assert swept.removed_rubbish == 1
    assert not stand.store.exists(rubbish)
    assert [one["key"] for one in swept.left] == [half, tail]


def killed_when(archive: ArchiveProcess, command: list[str], moment: Callable[[], bool]) -> None:
    """Run a command and kill it as soon as `moment` has come; one that was quicker than that has ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.archive", *command],
        env={**os.environ, **archive.environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not moment():
        pass
    process.kill()
    process.wait()


def test_kill_9_in_the_middle_of_compaction_and_sweep_loses_nothing(tmp_path: Path, database: str) -> None:
    archive = ArchiveProcess(tmp_path, database, Issuer())
    archive.start()
    try:
        studies = ["1.2.3", "5.5", "7.7"]
        for number in range(4):
            for study in studies:
                send(archive, synthetic(f"{study}.1.{number}", study=study, series=f"{study}.1"))
            for study in studies:
                eventually(lambda: stored(archive, study) == number + 1, archive, "a pack")  # noqa: B023
        assert delete(archive, "/studies/5.5/series/5.5.1/instances/5.5.1.0").status_code == 200
        before = answers(archive)
        compact = ["compact", "--quiet-seconds", "0", "--keep-hidden-seconds", "0"]
        sweep = ["sweep", "--grace-seconds", "0"]
        spool, count = tmp_path / "spool" / "compaction", len(packs(archive))
        for command, moment in (
            (compact, lambda: any(spool.glob("*.compacting"))),
            (compact, lambda: len(packs(archive)) > count),
            (sweep, lambda: len(packs(archive)) <= count),
        ):
            killed_when(archive, command, moment)
            assert answers(archive) == before
        for command in (compact, sweep):
            assert chore(archive, *command)[0] == 0
        assert check(archive) == (0, [])
        assert answers(archive) == before
        assert len(packs(archive)) == len(studies)
    finally:
        archive.close()
