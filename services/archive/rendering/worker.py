"""`python -m services.archive.rendering.worker FD MEMORY_BYTES SECONDS`: one rendering worker.

It serves jobs from the socket FD until that closes. Its memory is bounded by the kernel, and so is the time of each
job even when nobody waits for it any more. It opens no file and no connection of its own for a job.
"""

import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Before numpy is loaded: its threads would each map memory that counts, and there is a worker for each core anyway.
os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})

from services.archive.rendering import pixels
from services.archive.rendering.picture import picture
from services.archive.rendering.pixels import Refusal
from services.archive.rendering.wire import WireError, receive, send

NICENESS = 5
_GRACE_SECONDS = 2


def main(arguments: list[str]) -> int:
    """Serve until the archive closes its end; the exit code is of interest to nobody."""
    descriptor, memory, seconds = int(arguments[0]), int(arguments[1]), float(arguments[2])
    _confine(memory)
    with socket.socket(fileno=descriptor) as connection:
        try:
            send(connection, {"ready": True}, [], None)
            while (message := receive(connection, memory, None)) is not None:
                # Ends this process where no handler stands between: also when a codec loops in foreign code.
                signal.alarm(math.ceil(seconds) + _GRACE_SECONDS)
                head, blobs = message
                message = None
                answer, made = _work(head, blobs)
                blobs.clear()
                send(connection, answer, made, None)
                signal.alarm(0)
        except WireError:
            return 1
    return 0


def _confine(memory: int) -> None:
    """Bound private memory, leave the processor to those who wait for acknowledgements, leave no core behind."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


def _work(head: dict[str, Any], blobs: Sequence[bytearray]) -> tuple[dict[str, Any], list[bytes]]:
    try:
        return {"done": True}, _OPERATIONS[head["operation"]](head, blobs)
    except Refusal as refusal:
        return {"done": False, "why": str(refusal)}, []
    except MemoryError:
        return {
            "done": False,
            "why": "Working on this image takes more memory than a rendering worker has.",
        }, []
    except Exception:
        # Whatever it was, its text may quote the data set.
        return {
            "done": False,
            "why": "The image cannot be worked on: its attributes contradict its pixels.",
        }, []


def _one_frame(head: dict[str, Any], blobs: Sequence[bytearray]) -> Any:
    header, frame = blobs
    return pixels.one_frame(header, frame, head["index"])


def _render(head: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    return [picture(_one_frame(head, blobs), head)]


def _decode(head: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    data_set = _one_frame(head, blobs)
    array, _ = pixels.decoded(data_set)
    return [pixels.native_bytes(array, int(data_set.BitsAllocated))]


def _encode(head: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    return [pixels.encoded(_one_frame(head, blobs), head["target"])]


def _separate(_: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    return pixels.separated(blobs[0])


def _transcode(head: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    return [pixels.transcoded(blobs[0], head["target"])]


def _join(_: dict[str, Any], blobs: Sequence[bytearray]) -> list[bytes]:
    return [pixels.joined(blobs[0])]


_OPERATIONS: dict[str, Callable[[dict[str, Any], Sequence[bytearray]], list[bytes]]] = {
    "render": _render,
    "decode": _decode,
    "encode": _encode,
    "separate": _separate,
    "join": _join,
    "transcode": _transcode,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
