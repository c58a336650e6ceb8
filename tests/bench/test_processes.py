from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import ServerError
from bench.processes import Account, Program, accounts, cpu_seconds, machine_seconds, parse_stat
from tests.waiting import wait_for

TICKS = os.sysconf("SC_CLK_TCK")
WORK = "import time\nwhile time.process_time() < 0.3: pass\n"


def stat(name: str, *, user: int = 1, system: int = 2, children: int = 3) -> str:
    return f"42 ({name}) S 7 42 42 0 -1 4194560 100 0 0 0 {user} {system} {children} 4 20 0 1 0 100 0 0"


def test_a_process_is_read_with_its_own_seconds_and_those_of_ended_children() -> None:
    assert parse_stat(stat("python3")) == Account(42, 7, 10 / TICKS)


@pytest.mark.parametrize("name", ["a b", "nginx: worker) S 1", "((", "postgres: a b [local] idle"])
def test_the_name_of_a_program_may_be_anything(name: str) -> None:
    assert parse_stat(stat(name)) == Account(42, 7, 10 / TICKS)


def test_a_tree_is_counted_once_and_strangers_are_not() -> None:
    tree = [
        Account(1, 0, 100.0),
        Account(10, 1, 1.0),
        Account(11, 10, 2.0),
        Account(12, 11, 4.0),
        Account(20, 1, 8.0),
    ]
    assert cpu_seconds([10], tree) == 7
    assert cpu_seconds([10, 11, 20], tree) == 15
    assert cpu_seconds([99], tree) == 0


def test_a_process_that_ends_meanwhile_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(stat("a"))
    (tmp_path / "43").mkdir()
    (tmp_path / "self").mkdir()
    assert [account.pid for account in accounts(tmp_path)] == [42]


def test_work_of_a_grandchild_that_has_ended_is_counted() -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORK!r}]); print('done', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", inner], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert cpu_seconds([process.pid]) >= 0.3
        process.communicate("\n")


def test_the_machines_seconds_leave_out_idleness_and_waiting() -> None:
    assert machine_seconds("cpu  100 10 50 9999 8888 1 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n") == 166 / TICKS
    assert machine_seconds() > 0


def test_a_program_that_ends_says_its_last_words(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", "print('no such port'); raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(ServerError, match=r"did not listen.*ended with 3.*no such port"):
        program.wait_until(lambda: False, "listen")
    program.stop()


def test_a_program_that_never_gets_ready_is_told_of_and_ended(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", "input()"], tmp_path / "log")
    with pytest.raises(ServerError):
        program.wait_until(lambda: program.last_words() == "never", "listen", seconds=0.2)
    program.stop()
    assert not Path(f"/proc/{program.pid}").exists()


def test_a_program_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    starter = (
        "import sys, pathlib; from bench.processes import Program;"
        f"p = Program([sys.executable, '-c', 'import time; time.sleep(600)'], pathlib.Path({str(tmp_path / 'log')!r}));"
        "p.wait_until(lambda: b'python' in pathlib.Path(f'/proc/{p.pid}/cmdline').read_bytes().split(b'\\0')[0], 'run');"
        "print(p.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=False)
    pid = int(done.stdout)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            return True

    wait_for(gone, 30, "the program ends with its starter")
