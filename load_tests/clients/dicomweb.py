"""DICOMweb for Locust: each request is reported with size and time, a wrong answer as a failure."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any

import requests

from cli.verify.part10 import multipart_parts
from cli.verify.target import Target
from load_tests.scene import Reports

JSON = "application/dicom+json"
FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'

_TIMEOUT_SECONDS = 30


class WrongAnswerError(Exception):
    """An answer came, but not the one that was asked for: a status, a type or a length."""


class DicomWebClient:
    """A viewer's HTTP connections. Not shared between greenlets that ask at the same moment."""

    def __init__(self, target: Target, reports: Reports) -> None:
        self._url = target.dicomweb_url
        self._session = target.session()
        self._reports = reports

    def search(self, name: str, path: str, planned: float | None = None) -> list[dict[str, Any]] | None:
        """QIDO-RS or metadata: the JSON array; None after a failure, which is reported."""
        body = self._get(name, path, JSON, planned)
        return None if body is None else list(json.loads(body[1] or b"[]"))

    def frame(self, name: str, path: str) -> bytes | None:
        """One frame's bytes; None after a failure, which is reported."""
        body = self._get(name, path, FRAMES, None)
        return None if body is None else multipart_parts(*body)[0]

    def _get(self, name: str, path: str, accept: str, planned: float | None) -> tuple[str, bytes] | None:
        """`planned`: count the time from then (open model) instead of from the request."""
        started = planned if planned is not None else monotonic()
        failure: Exception | None = None
        kind, body = "", b""
        try:
            answer = self._session.get(self._url + path, headers={"Accept": accept}, timeout=_TIMEOUT_SECONDS)
            kind, body = answer.headers.get("Content-Type", ""), answer.content
            _check(answer, accept)
        except (requests.RequestException, ValueError, WrongAnswerError) as error:
            failure = error
        self._reports.fire(
            request_type="GET",
            name=name,
            response_time=(monotonic() - started) * 1000,
            response_length=len(body),
            exception=failure,
            context={},
        )
        return None if failure else (kind, body)


def _check(answer: requests.Response, accept: str) -> None:
    kind = answer.headers.get("Content-Type", "")
    if answer.status_code == 204 and accept == JSON:  # PS3.18 10.6.3.1: a search without matches
        return
    if answer.status_code != 200:
        raise WrongAnswerError(f"HTTP {answer.status_code}")
    if accept == JSON:
        json.loads(answer.content)
    elif len(multipart_parts(kind, answer.content)) != 1:
        raise WrongAnswerError("expected one part")
