"""Modality Performed Procedure Step SCP: N-CREATE and N-SET (PS3.4 annex F.7).

What may happen, and the status of what may not, is in `workflow.performed_step`; here a data set becomes attributes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import generate_uid
from pynetdicom import evt

from services.archive.dimse.service_class import ServiceClass
from services.archive.dimse.status import status_of
from services.archive.workflow.performed_step import (
    PROCESSING_FAILURE,
    Attributes,
    PerformedStep,
    StepRefused,
    changed,
    created,
    missing,
)
from services.archive.workflow.ports import PerformedSteps
from services.common.clock import Clock
from services.common.errors import PacsError

logger = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.3.1.2.3.3"
SUCCESS = 0x0000
ATTRIBUTE_LIST_ERROR = 0x0107
RESOURCE_LIMITATION = 0x0213
MOST_BYTES = 8 << 20
"""Of an attribute list: some tens of thousands of referenced images."""

Answer = tuple[Dataset, Dataset | None]


class StepProvider:
    """Keeps performed steps of one institution's modalities; `refused` is told the status of each refusal."""

    def __init__(
        self, steps: PerformedSteps, institution: str, site: str, clock: Clock, refused: Callable[[int], None]
    ) -> None:
        self._steps, self._institution, self._site = steps, institution, site
        self._clock, self._refused = clock, refused

    def service_class(self) -> ServiceClass:
        handlers = {evt.EVT_N_CREATE: self._on_create, evt.EVT_N_SET: self._on_set}
        return ServiceClass([SOP_CLASS], handlers)

    def _on_create(self, event: evt.Event) -> Answer:
        return self._answered(event, self._create)

    def _on_set(self, event: evt.Event) -> Answer:
        return self._answered(event, self._set)

    def _answered(self, event: evt.Event, act: Callable[[evt.Event], Answer]) -> Answer:
        """Never raises: what the library would log of an exception may quote the data set."""
        try:
            return act(event)
        except StepRefused as error:
            return self._refuse(
                event, error.status, error.comment, status_of(
                    error.status, error.comment, error_id=error.error_id, tags=error.tags
                ),
            )  # fmt: skip
        except PacsError as error:
            logger.warning("a performed step was not kept", exc_info=True)
            return self._refuse(event, PROCESSING_FAILURE, f"Not kept, send it later: {error.detail}")
        except Exception:
            logger.exception("a performed step was not kept: unexpected")
            return self._refuse(event, PROCESSING_FAILURE, "Not kept: a fault of the archive. Send it later")

    def _create(self, event: evt.Event) -> Answer:
        request: Any = event.request
        given = request.AffectedSOPInstanceUID
        uid = str(given) if given else str(generate_uid(prefix=None))
        attributes = _attributes(event, request.AttributeList)
        step = created(
            uid,
            attributes,
            self._clock.now(),
            institution=self._institution,
            site=self._site,
            calling_ae=event.assoc.requestor.ae_title,
        )
        self._steps.create(step)
        made = None
        if not given:  # PS3.7 10.1.5.1.4: the performer is told the UID it left to us
            made = Dataset()
            made.AffectedSOPInstanceUID = uid
        return status_of(SUCCESS), made

    def _set(self, event: evt.Event) -> Answer:
        request: Any = event.request
        uid = str(request.RequestedSOPInstanceUID or "")
        if self._steps.get(self._institution, uid) is None:
            raise missing()
        attributes = _attributes(event, request.ModificationList)
        left: tuple[str, ...] = ()

        def decide(step: PerformedStep) -> PerformedStep:
            nonlocal left
            after, left = changed(step, attributes, self._clock.now())
            return after

        self._steps.change(self._institution, uid, decide)
        if left:
            return status_of(ATTRIBUTE_LIST_ERROR, "Some attributes are settled by N-CREATE", tags=left), None
        return status_of(SUCCESS), None

    def _refuse(self, event: evt.Event, status: int, why: str, answer: Dataset | None = None) -> Answer:
        logger.warning(
            "performed step of %s refused with 0x%04X: %s", event.assoc.requestor.ae_title, status, why
        )
        self._refused(status)
        return answer or status_of(status, why), None


def _attributes(event: evt.Event, content: BytesIO | None) -> Attributes:
    """The data set of a request as a DICOM JSON object, text in Unicode. Raises `StepRefused`."""
    raw = content.getvalue() if content is not None else b""
    if len(raw) > MOST_BYTES:
        raise StepRefused(RESOURCE_LIMITATION, f"An attribute list of at most {MOST_BYTES} bytes is taken")
    syntax = event.context.transfer_syntax
    try:
        # Not the library's decode: it would warn of odd values, with their text.
        data_set = read_dataset(BytesIO(raw), syntax == "1.2.840.10008.1.2", True)
        data_set.decode()
        attributes: Attributes = json.loads(json.dumps(data_set.to_json_dict()))
    except (Exception, RecursionError):
        # Whatever a parser trips over; the place is logged and the values are not.
        logger.warning("an attribute list cannot be decoded", exc_info=True)
        raise StepRefused(PROCESSING_FAILURE, "The attribute list cannot be decoded") from None
    return attributes
