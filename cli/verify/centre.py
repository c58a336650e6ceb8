"""The web client's side: dicomweb-client where meaning counts, raw HTTP bodies where bytes count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient

from cli.verify.corpus import Specimen
from cli.verify.part10 import NotPart10Error, Part10, multipart_parts
from cli.verify.target import Target

ACCEPT_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""PS3.18 8.7.3.3.2: whatever transfer syntax the instance is stored in, so that bytes can be compared."""

_POLL_SECONDS = 0.1
_TIMEOUT_SECONDS = 60

Json = dict[str, dict[str, Any]]


class CentreError(Exception):
    """The centre answered something else than promised; the text has status, path and detail."""


@dataclass(frozen=True)
class Arrival:
    """An instance became readable `seconds` after the branch's success, with these bytes."""

    seconds: float
    part10: Part10


class Centre:
    """One client of the centre; not shared between threads."""

    def __init__(self, target: Target) -> None:
        self._url = target.dicomweb_url
        self._session = target.session()
        self.dicomweb = DICOMwebClient(url=self._url, session=self._session, timeout=_TIMEOUT_SECONDS)
        # Its own retries would turn a refused request into a minute of silence.
        self.dicomweb.set_http_retry_params(retry=False)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self._session.get(f"{self._url}{path}", headers=headers, timeout=_TIMEOUT_SECONDS)

    def instance(self, specimen: Specimen) -> Part10 | None:
        """The stored file, from the raw body of WADO-RS (PS3.18 10.4); None while it is not there (404)."""
        answer = self.get(_path(specimen, instance=True), Accept=ACCEPT_AS_STORED)
        if answer.status_code == requests.codes.not_found:
            return None
        (part,) = _dicom_parts(answer)
        return part

    def series(self, specimen: Specimen) -> Counter[str]:
        """Digests of every instance of the series of `specimen`, from one raw multipart answer."""
        answer = self.get(_path(specimen, instance=False), Accept=ACCEPT_AS_STORED)
        return Counter(part.digest for part in _dicom_parts(answer))

    def arrival(self, specimen: Specimen, since: float, deadline: float) -> Arrival | None:
        """Wait until it can be read; None if it cannot `deadline` seconds after `since` (monotonic)."""
        while True:
            part10 = self.instance(specimen)
            seconds = monotonic() - since
            if part10 is not None:
                return Arrival(seconds, part10)
            if seconds > deadline:
                return None
            self.pause()

    @staticmethod
    def pause() -> None:
        """Between two questions about something that is on its way."""
        sleep(_POLL_SECONDS)

    def studies_named(self, name: str, patient_id: str) -> list[Json]:
        """QIDO-RS: studies of this patient whose name holds `name` (wild cards: PS3.4 C.2.2.2.4)."""
        found: list[Json] = self.dicomweb.search_for_studies(
            search_filters={"PatientName": f"*{name}*", "PatientID": patient_id}
        )
        return found

    def instance_count(self, study_uid: str, series_uid: str) -> int:
        """How many instances QIDO-RS lists for a series, page after page."""
        return len(self.dicomweb.search_for_instances(study_uid, series_uid, get_remaining=True))

    def conflicts(self, study_uid: str) -> list[dict[str, Any]]:
        """The kept versions that differ from the addressable one, as the centre lists them for a study."""
        answer = self.get(f"/studies/{study_uid}/conflicts", Accept="application/json")
        if answer.status_code != requests.codes.ok:
            raise CentreError(_complaint(answer))
        listed: list[dict[str, Any]] = answer.json()
        return listed

    def version(self, specimen: Specimen) -> Part10:
        """A kept version that is not the addressable one, by its digest."""
        path = f"{_path(specimen, instance=True)}/versions/{specimen.digest}"
        (part,) = _dicom_parts(self.get(path, Accept=ACCEPT_AS_STORED))
        return part


def _path(specimen: Specimen, *, instance: bool) -> str:
    path = f"/studies/{specimen.study_uid}/series/{specimen.series_uid}"
    return f"{path}/instances/{specimen.sop_uid}" if instance else path


def _dicom_parts(answer: requests.Response) -> list[Part10]:
    if answer.status_code != requests.codes.ok:
        raise CentreError(_complaint(answer))
    try:
        parts = multipart_parts(answer.headers.get("Content-Type", ""), answer.content)
        return [Part10.parse(part) for part in parts]
    except (NotPart10Error, ValueError) as error:
        raise CentreError(f"GET {answer.request.path_url}: {error}") from error


def _complaint(answer: requests.Response) -> str:
    """Status, path and the problem's own words; another body may hold patient data, so never more."""
    detail = answer.reason
    if "json" in answer.headers.get("Content-Type", ""):
        body = answer.json()
        detail = body.get("detail") or body.get("title") or detail if isinstance(body, dict) else detail
    return f"{answer.request.method} {answer.request.path_url}: {answer.status_code} {detail}"
