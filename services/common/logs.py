"""Structured logs: one JSON object a line on stderr, without patient data.

What may be written is decided here, not at each call: our own messages are constants with
fields from an allow-list; a library's message appears as its template, without its arguments
(pydicom and drivers quote values in them); an exception appears as its type and place, and with
its text only when it is one of ours.
"""

import json
import logging
import sys
import traceback
import warnings
from datetime import UTC, datetime
from typing import Any

from services.common.errors import PacsError

OURS = ("services", "__main__", "uvicorn.error")
FIELDS = frozenset(
    {
        "action",
        "address",
        "association",
        "bytes",
        "called_ae",
        "calling_ae",
        "conflicts",
        "count",
        "detail",
        "duplicates",
        "institution",
        "instances",
        "method",
        "pack_id",
        "port",
        "reason",
        "revision",
        "route",
        "seconds",
        "series_uid",
        "site",
        "sop_instance_uid",
        "state",
        "status",
        "study_uid",
        "subject",
        "worker",
    }
)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON (keys `time, level, logger, message` and allowed fields)."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith(OURS)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage() if ours else str(record.msg),
        }
        line.update({key: value for key, value in record.__dict__.items() if key in FIELDS})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def describe(error: BaseException) -> str:
    """An exception in a form that can be logged: type and places; text only where it is ours or the system's."""
    if isinstance(error, PacsError):
        text = error.detail
    elif type(error).__module__.startswith("services."):
        text = str(error)
    elif isinstance(error, OSError) and error.errno is not None:
        text = f"[Errno {error.errno}] {error.strerror}"
    else:
        text = ""
    places = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__)[-6:])
    )
    cause = error.__cause__
    because = f"; caused by {describe(cause)}" if cause is not None else ""
    return f"{type(error).__name__}({text}) at {places or 'unknown place'}{because}"


def configure(service: str, level: str = "INFO") -> None:
    """Send all logging of this process through `JsonLines`; called once, before anything is served."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These speak of data set contents at lower levels, pydicom's warnings quote values, and of a request of httpx
    # nothing but the template would be left.
    for name, floor in (
        ("pydicom", logging.ERROR),
        ("pynetdicom", logging.WARNING),
        ("botocore", logging.WARNING),
        ("httpx", logging.WARNING),
    ):
        logging.getLogger(name).setLevel(floor)
    # Warnings are for the tests; in a service they would be lines of free text that may quote a data set.
    warnings.simplefilter("ignore")
