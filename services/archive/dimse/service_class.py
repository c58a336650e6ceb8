"""A DIMSE service class beside Verification and Storage: what it negotiates, and who answers its requests.

There are two ways to answer: `handlers` are pynetdicom's, which then writes the responses itself; a function in
`requests` is given the whole request and writes every response, the last one too (`Request`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt

from services.archive.dimse.request import Request

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Of what is not an image: identifiers, worklists, action information. The first is preferred."""


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """`abstract_syntaxes` are its SOP classes as UIDs; `handlers` are pynetdicom's, by intervention event;
    `requests` are by kind of message, such as `C_FIND` of `pynetdicom.dimse_primitives`."""

    abstract_syntaxes: Sequence[str]
    handlers: Mapping[evt.InterventionEvent, Callable[[evt.Event], Any]] = field(default_factory=dict)
    transfer_syntaxes: Sequence[str] = TRANSFER_SYNTAXES
    requests: Mapping[type, Callable[[Request], None]] = field(default_factory=dict)
