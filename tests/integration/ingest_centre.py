"""The far end of contracts section 7 behind the gateway, with trouble on demand.

It verifies packs and signs receipts with the platform's own code; what it adds is the trouble: an answer that
is lost after the commit, a refusal, a pause. The archive itself has its own tests.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.network import free_port
from services.common.errors import BadRequest, Forbidden, NotFound, PacsError
from services.common.problem import EXCEPTION_HANDLERS
from services.packs.pack import Footer, PackError, verify
from tests.integration.region_door import ServerFiles, listening
from tests.services.edge.branch import ReceiptOffice
from tests.waiting import wait_for

Trouble = Callable[[str], PacsError | str | None]


class IngestCentre:
    """An HTTP server in a thread; `packs` is what it has committed."""

    def __init__(self, office: ReceiptOffice, shown: ServerFiles) -> None:
        self.office = office
        self._shown = shown
        self.packs: dict[str, Footer] = {}
        self.puts: list[str] = []
        self.pause = 0.0
        # Given a pack id: an error to answer with, "drop" to commit and lose the answer, None for success.
        self.trouble: Trouble = lambda _: None
        self.port = free_port()
        route = Route("/ingest/v1/packs/{pack_id}", self._ingest, methods=["PUT", "GET"])
        application = Starlette(routes=[route], exception_handlers=EXCEPTION_HANDLERS)
        self._application = application
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> IngestCentre:
        configuration = uvicorn.Config(
            self._application,
            port=self.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            ssl_context_factory=lambda *_: self._shown.context(),
        )
        self._server = uvicorn.Server(configuration)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: listening(self.port), 10, "the centre listens")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(10)

    async def _ingest(self, request: Request) -> Response:
        pack_id = request.path_params["pack_id"]
        if request.method in {"GET", "HEAD"}:
            if pack_id not in self.packs:
                raise NotFound("this pack is not here")
            return self._receipts(pack_id)
        self.puts.append(pack_id)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "pack"
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            trouble = self.trouble(pack_id)
            if isinstance(trouble, PacsError):
                raise trouble
            await asyncio.sleep(self.pause)
            footer = self._verified(path, pack_id)
        client = (request.headers["x-pacs-client-institution"], request.headers["x-pacs-client-site"])
        if client != (footer.institution, footer.site):
            raise Forbidden(
                f"the pack is of {footer.institution}/{footer.site}, the client is {'/'.join(client)}"
            )
        self.packs[pack_id] = footer
        if trouble == "drop":
            raise ConnectionAbortedError  # 500 after the commit: the answer does not say what happened
        await asyncio.sleep(self.pause)
        return self._receipts(pack_id)

    def _receipts(self, pack_id: str) -> Response:
        return JSONResponse({"pack_id": pack_id, "receipts": self.office.issue(self.packs[pack_id])})

    @staticmethod
    def _verified(path: Path, pack_id: str) -> Footer:
        try:
            footer = verify(path)
        except PackError as error:
            raise BadRequest(str(error)) from error
        if footer.pack_id != pack_id:
            raise BadRequest("the pack id is another one")
        return footer
