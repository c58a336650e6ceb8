"""The worklist and performed steps over REST, until the HIS bridge and the portal speak to the ports (contracts, section 20).

| route | scope |
|---|---|
| `PUT /workflow/v1/institutions/{institution}/worklist/{id}` | `workflow:write` |
| `DELETE` of the same | `workflow:write` |
| `GET` of the same, and of `.../worklist` | `workflow:read` |
| `GET /workflow/v1/institutions/{institution}/performed-steps` and `.../{uid}` | `workflow:read` |
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.archive.access import WORKFLOW_READ, WORKFLOW_WRITE, access_of
from services.archive.dicomweb.qido import checked_uid
from services.archive.index.query import Condition, Key, Kind, Level, condition
from services.archive.workflow.order import EntryId, Order
from services.archive.workflow.performed_step import PerformedStep, StepStatus
from services.archive.workflow.ports import PerformedSteps, StepQuery, Worklist
from services.archive.workflow.worklist import OPEN, Entry, EntryState, Placed, WorklistQuery
from services.common.clock import Clock, rfc3339
from services.common.errors import BadRequest, Forbidden, NotFound, TooLarge

BASE = "/workflow/v1/institutions/{institution}"
LIST = BASE + "/worklist"
ENTRY = LIST + "/{entry}"
STEPS = BASE + "/performed-steps"
MOST_BYTES = 64 << 10
DEFAULT_LIMIT, MOST = 100, 1000

Handler = Callable[[Request], Awaitable[Response]]

_ENTRY_ID = TypeAdapter(EntryId)
# Search parameters of the worklist; one level, as in C-FIND.
_KEYS = {
    key.keyword: key
    for key in (
        Key("date", "00400002", Level.STUDY, Kind.DATE, "dates"),
        Key("patient_name", "00100010", Level.STUDY, Kind.NAME, "patient_name"),
        Key("patient_id", "00100020", Level.STUDY, Kind.TEXT, "patient_id"),
        Key("accession_number", "00080050", Level.STUDY, Kind.TEXT, "accession_number"),
        Key("station_ae_title", "00400001", Level.STUDY, Kind.TEXT, "station_ae_title"),
        Key("modality", "00080060", Level.STUDY, Kind.TEXT, "modality"),
    )
}


class WorkflowRoutes:
    """Routes over the ports. `own` is the only institution that is written for, None (the centre) any of the token's."""

    def __init__(
        self, worklist: Worklist, steps: PerformedSteps, *, site: str, own: str | None, clock: Clock
    ) -> None:
        self._worklist, self._steps, self._site, self._own, self._clock = worklist, steps, site, own, clock

    def routes(self) -> list[Route]:
        return [
            Route(LIST, _guarded(self.entries, WORKFLOW_READ), methods=["GET"]),
            Route(ENTRY, _guarded(self.entry, WORKFLOW_READ), methods=["GET"]),
            Route(ENTRY, _guarded(self.put, WORKFLOW_WRITE), methods=["PUT"]),
            Route(ENTRY, _guarded(self.cancel, WORKFLOW_WRITE), methods=["DELETE"]),
            Route(STEPS, _guarded(self.steps, WORKFLOW_READ), methods=["GET"]),
            Route(STEPS + "/{uid}", _guarded(self.step, WORKFLOW_READ), methods=["GET"]),
        ]

    async def put(self, request: Request) -> Response:
        """Schedule a step: 201, or 200 where it was there (and is now as sent). The same again changes nothing."""
        institution, entry_id = self._writable(request), _entry_id(request)
        order = read_order(await _body(request))
        entry = Entry(institution, self._site, entry_id, order, EntryState.SCHEDULED, self._clock.now())
        done = await run_in_threadpool(self._worklist.put, entry)
        kept = await run_in_threadpool(self._worklist.get, institution, entry_id)
        return _json(_entry(kept or entry), 201 if done is Placed.ADDED else 200)

    async def cancel(self, request: Request) -> Response:
        """Take a step off the worklist: 204, again and again."""
        institution, entry_id = self._writable(request), _entry_id(request)
        if await run_in_threadpool(self._worklist.cancel, institution, entry_id, self._clock.now()) is None:
            raise _no_entry()
        return Response(status_code=204)

    async def entry(self, request: Request) -> Response:
        """One entry, whatever its state."""
        institution, entry_id = _readable(request), _entry_id(request)
        found = await run_in_threadpool(self._worklist.get, institution, entry_id)
        if found is None:
            raise _no_entry()
        return _json(_entry(found))

    async def entries(self, request: Request) -> Response:
        """Entries by start; without `state` those that modalities see."""
        query, limit = _worklist_query(request)
        found = await run_in_threadpool(lambda: list(islice(self._worklist.find(query), limit)))
        return _json([_entry(one) for one in found])

    async def steps(self, request: Request) -> Response:
        """Performed steps, last changed first, with what the modality said of them."""
        found = await run_in_threadpool(self._steps.find, _step_query(request))
        return _json([_step(one) for one in found])

    async def step(self, request: Request) -> Response:
        """One performed step."""
        institution, uid = _readable(request), checked_uid(request.path_params["uid"], "SOPInstanceUID")
        found = await run_in_threadpool(self._steps.get, institution, uid)
        if found is None:
            raise NotFound("There is no such performed step.", action="List them at performed-steps.")
        return _json(_step(found))

    def _writable(self, request: Request) -> str:
        institution = str(request.path_params["institution"])
        allowed = access_of(request).institutions
        if (allowed is not None and institution not in allowed) or self._own not in (None, institution):
            raise Forbidden(
                "Nothing is scheduled here for this institution.",
                action="Use a token of the institution in the path; at a branch, of the branch's own.",
            )
        return institution


def read_order(body: bytes) -> Order:
    """An order document. Raises `BadRequest` that names every field at fault, and no value of any."""
    try:
        return Order.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    said = "; ".join(f"{_path(fault['loc'])}: {fault['msg']}" for fault in faults[:20])
    raise BadRequest(f"The order cannot be taken: {said}.", action="Correct these fields and send it again.")


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:64] for part in location) or "document"


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_BYTES:
            raise TooLarge(f"An order has at most {MOST_BYTES} bytes.", action="Send one order in a request.")
    return bytes(content)


def _readable(request: Request) -> str:
    """The institution in the path. What the token may not see looks as if it were not there."""
    institution = str(request.path_params["institution"])
    allowed = access_of(request).institutions
    if allowed is not None and institution not in allowed:
        raise NotFound("There is no such institution.", action="Use one that the token is for.")
    return institution


def _entry_id(request: Request) -> str:
    try:
        return _ENTRY_ID.validate_python(request.path_params["entry"])
    except ValidationError:
        raise BadRequest(
            "The entry's id in the URL cannot be one.",
            action="It is 1-64 of A-Z a-z 0-9 . _ - (first no sign).",
        ) from None


def _worklist_query(request: Request) -> tuple[WorklistQuery, int]:
    institution = _readable(request)
    chosen: set[EntryState] = set()
    conditions: list[Condition] = []
    limit = DEFAULT_LIMIT
    for name, value in request.query_params.multi_items():
        if name == "state":
            chosen.add(_chosen(name, value, EntryState))
        elif name == "limit":
            limit = _number(name, value, MOST)
        elif (key := _KEYS.get(name)) is None:
            known = ", ".join(("state", "limit", *_KEYS))
            raise BadRequest(f"There is no parameter {name[:64]!r}.", action=f"Use: {known}.")
        elif (made := condition(key, value)) is not None:
            conditions.append(made)
    states = frozenset(chosen) if chosen else OPEN
    return WorklistQuery.asking(frozenset({institution}), conditions, states), limit


def _step_query(request: Request) -> StepQuery:
    asked: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name == "study":
            asked["study_uid"] = checked_uid(value, "study")
        elif name == "status":
            asked["status"] = _chosen(name, value, StepStatus)
        elif name in ("limit", "offset"):
            asked[name] = _number(name, value, MOST if name == "limit" else 1 << 31)
        else:
            raise BadRequest(
                f"There is no parameter {name[:64]!r}.", action="Use: study, status, limit, offset."
            )
    return StepQuery(frozenset({_readable(request)}), **asked)


def _chosen(name: str, value: str, kind: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise BadRequest(f"There is no such {name}.", action=f"Give {name} as one of: {known}.") from None


def _number(name: str, value: str, most: int) -> int:
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise BadRequest(f"{name} is not a whole number.", action=f"Give {name} as digits, at most {most}.")
    return min(int(value), most)


def _no_entry() -> NotFound:
    return NotFound("There is no such worklist entry.", action="Put it there first.")


def _entry(entry: Entry) -> Mapping[str, Any]:
    return {
        "id": entry.entry_id, "institution": entry.institution, "site": entry.site, "state": entry.state,
        "study_instance_uid": entry.study_uid, "performed_step": entry.performed_step,
        "changed_at": rfc3339(entry.changed_at), "order": entry.order.model_dump(mode="json"),
    }  # fmt: skip


def _step(step: PerformedStep) -> Mapping[str, Any]:
    return {
        "sop_instance_uid": step.sop_instance_uid, "institution": step.institution, "site": step.site,
        "status": step.status, "calling_ae": step.calling_ae, "study_instance_uids": step.study_uids,
        "created_at": rfc3339(step.created_at), "changed_at": rfc3339(step.changed_at),
        "attributes": step.attributes,
    }  # fmt: skip


def _json(document: Any, status: int = 200) -> Response:
    content = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(content, status_code=status, media_type="application/json")


def _guarded(handler: Handler, scope: str) -> Handler:
    """The handler behind its scope. Starlette calls it only after `TokenDoor` let the request in."""

    async def guarded(request: Request) -> Response:
        access_of(request).require(scope)
        return await handler(request)

    return guarded
