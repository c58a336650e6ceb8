"""Whatever a codec does, it ends a worker at most: the request is refused with a reason, and the next one is served."""

import os
import signal
import struct
import sys
import threading
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from services.archive.rendering.errors import CannotRender, RenderingBusy
from services.archive.rendering.pool import RenderingPool
from tests.services.archive.harness import Harness, harness
from tests.services.archive.samples import data_set_of, file_bytes, synthetic
from tests.services.archive.test_wado import path_of

__all__ = ["harness"]

ONE = "/studies/1.2.3/series/1.2.3.1/instances/1.1"


class Jobs:
    """What the pool told of its jobs."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def job_ended(self, operation: str, outcome: str, seconds: float) -> None:
        self.outcomes.append(outcome)


def a_pool(directory: Path, work: str, **options: float) -> tuple[RenderingPool, Jobs]:
    """A pool of one worker that does `work` with each job instead of decoding."""
    script = directory / "worker.py"
    script.write_text(
        "import os, signal, socket, sys, time\n"
        "from services.archive.rendering.wire import receive, send\n"
        "connection = socket.socket(fileno=int(sys.argv[1]))\n"
        "send(connection, {'ready': True}, [], None)\n"
        "while (message := receive(connection, 1 << 20, None)) is not None:\n"
        "    head, blobs = message\n"
        f"    {work}\n"
        "    send(connection, {'done': True}, blobs, None)\n"
    )
    jobs = Jobs()
    settings = {"workers": 1, "seconds": 30.0, "patience": 30.0} | options
    return RenderingPool(jobs, command=(sys.executable, str(script)), **settings), jobs  # type: ignore[arg-type]


@pytest.mark.parametrize("death", ["os.abort()", "os.kill(os.getpid(), signal.SIGSEGV)", "sys.exit(0)"])
def test_a_crash_is_a_refusal_and_the_next_job_has_a_new_worker(tmp_path: Path, death: str) -> None:
    pool, jobs = a_pool(tmp_path, f"{death} if head['operation'] == 'die' else None")
    with pytest.raises(CannotRender, match="ended while it worked"):
        pool.run("die", {})
    assert pool.run("live", {}, b"pixels") == [b"pixels"]
    assert jobs.outcomes == ["crashed", "done"]
    pool.close()


def test_a_job_that_takes_too_long_is_ended_and_the_next_one_is_served(tmp_path: Path) -> None:
    pool, jobs = a_pool(tmp_path, "time.sleep(600) if head['operation'] == 'hang' else None", seconds=2.0)
    with pytest.raises(CannotRender, match="took longer than 2 s"):
        pool.run("hang", {})
    assert pool.run("live", {}, b"pixels") == [b"pixels"]
    assert jobs.outcomes == ["timeout", "done"]
    pool.close()


def test_when_every_worker_is_at_work_the_client_is_told_to_come_back(tmp_path: Path) -> None:
    go_on, begun = tmp_path / "go-on", tmp_path / "begun"
    os.mkfifo(go_on)
    os.mkfifo(begun)
    pool, jobs = a_pool(
        tmp_path, f"open({str(begun)!r}, 'w').close(); open({str(go_on)!r}).close()", patience=0.0
    )
    thread = threading.Thread(target=pool.run, args=("slow", {}))
    thread.start()
    begun.open().close()
    with pytest.raises(RenderingBusy):
        pool.run("live", {})
    go_on.open("w").close()
    thread.join(60)
    assert jobs.outcomes == ["busy", "done"]
    pool.close()


def test_an_answer_that_lies_about_its_length_is_not_believed(tmp_path: Path) -> None:
    lie = (
        "connection.sendall(b'\\\\x00\\\\x00\\\\x00\\\\x20' + b'{\\\"blobs\\\": [99999999999999]}'.ljust(32))"
    )
    pool, jobs = a_pool(tmp_path, lie.replace("\\\\", "\\").replace('\\"', '"'))
    with pytest.raises(CannotRender):
        pool.run("lie", {})
    assert jobs.outcomes == ["crashed"]
    pool.close()


def test_a_worker_that_was_killed_while_it_waited_is_replaced_unseen(harness: Harness) -> None:
    harness.keep(synthetic("1.1"))
    assert harness.get(ONE + "/rendered").status_code == 200
    pool = harness.archive.rendering._workers
    place = pool._places.get()
    os.kill(place.process.pid, signal.SIGKILL)
    place.process.wait()
    pool._places.put(place)
    assert harness.get(ONE + "/rendered").status_code == 200
    assert harness.counted("pacs_archive_rendering_jobs_total", operation="render", outcome="done") == 2


def test_a_code_stream_that_declares_a_giant_image_is_refused_and_the_next_one_is_served(
    harness: Harness,
) -> None:
    content = bytearray(file_bytes("JPEG2000.dcm"))
    start = bytes(content).index(b"\xff\x4f\xff\x51")
    # Xsiz and Ysiz of the SIZ marker (ISO 15444-1 A.5.1): 2 giga-pixels of 16 bits, in one tile.
    content[start + 8 : start + 16] = struct.pack(">II", 60_000, 40_000)
    content[start + 24 : start + 32] = struct.pack(">II", 60_000, 40_000)
    harness.keep(bytes(content))
    answer = harness.get(path_of(bytes(content)) + "/rendered")
    assert answer.status_code == 406
    assert answer.json()["type"] == "urn:pacs:problem:cannot-be-rendered"
    harness.keep(synthetic("1.1"))
    assert harness.get(ONE + "/rendered").status_code == 200


def test_a_deflated_data_set_that_unfolds_beyond_a_workers_memory_is_refused(tmp_path: Path) -> None:
    small = Harness(tmp_path, rendering_memory_bytes=160 << 20)
    content = synthetic("1.1", transfer_syntax=DeflatedExplicitVRLittleEndian, PixelData=bytes(120 << 20))
    assert len(content) < 1 << 20
    small.keep(content, synthetic("1.2"))
    answer = small.get(ONE + "/rendered")
    assert answer.status_code == 406
    assert answer.json()["type"] == "urn:pacs:problem:cannot-be-rendered"
    assert "memory" in answer.json()["detail"]
    assert small.get("/studies/1.2.3/series/1.2.3.1/instances/1.2/rendered").status_code == 200
    small.close()


def test_damaged_code_streams_never_take_the_archive_along(harness: Harness) -> None:
    whole = file_bytes("MR_small_jpeg_ls_lossless.dcm")
    pixels = bytes(data_set_of(whole).PixelData)
    start = whole.index(pixels[:40])
    for place in range(start + 40, start + 400, 40):
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff\xff\x00\x00\xff\xd9\xff\xff"
        harness.keep(bytes(damaged))
    answer = harness.get(path_of(whole) + "/rendered")
    assert answer.status_code in (200, 406)
    for conflict in harness.get("/" + "/".join(path_of(whole).split("/")[1:3]) + "/conflicts").json():
        assert conflict["digest"]
