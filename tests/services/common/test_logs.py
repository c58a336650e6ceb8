"""Rules of the logs: one JSON object a line, and no patient in it."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest

from services.common.errors import NotFound, Unavailable
from services.common.logs import JsonLines, configure

PATIENT = "Wang^XiaoDong"


def line(logger: str, message: str, *arguments: object, **keywords: object) -> dict[str, object]:
    """What a call to this logger writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines("archive"))
    log = logging.getLogger(logger)
    log.addHandler(handler)
    try:
        log.error(message, *arguments, **keywords)  # type: ignore[arg-type]
    finally:
        log.removeHandler(handler)
    written: dict[str, object] = json.loads(stream.getvalue())
    return written


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_log_line_is_one_json_object_with_the_allowed_fields() -> None:
    written = line("services.archive.x", "pack committed", extra={"pack_id": "ab", "patient_name": PATIENT})
    assert written["message"] == "pack committed"
    assert written["pack_id"] == "ab"
    assert written["service"] == "archive"
    assert PATIENT not in json.dumps(written)


def test_a_librarys_message_comes_without_its_arguments() -> None:
    written = line("pydicom.valuerep", "Invalid value for VR PN: %s", PATIENT)
    assert written["message"] == "Invalid value for VR PN: %s"


def test_an_exceptions_text_is_written_only_when_it_is_ours_or_the_systems() -> None:
    foreign = line("services.x", "failed", exc_info=raised(ValueError(f"bad value {PATIENT}")))
    assert PATIENT not in json.dumps(foreign)
    assert str(foreign["error"]).startswith("ValueError() at test_logs.py:")
    ours = line("services.x", "failed", exc_info=raised(Unavailable("The index does not answer.")))
    assert "The index does not answer." in str(ours["error"])
    system = line("services.x", "failed", exc_info=raised(OSError(28, "No space left on device")))
    assert "No space left" in str(system["error"])


def test_the_cause_of_an_error_is_named_too() -> None:
    def fail() -> None:
        try:
            raise KeyError(PATIENT)
        except KeyError as cause:
            raise NotFound("It is not there.") from cause

    with pytest.raises(NotFound) as caught:
        fail()
    written = json.dumps(line("services.x", "failed", exc_info=caught.value))
    assert "caused by KeyError" in written
    assert PATIENT not in written


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_configured_logging_writes_json_to_stderr(
    logging_restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("edge", "INFO")
    logging.getLogger("services.edge").info("started")
    logging.getLogger("pydicom").warning("value %s", PATIENT)
    [written] = capsys.readouterr().err.splitlines()
    assert json.loads(written)["message"] == "started"
