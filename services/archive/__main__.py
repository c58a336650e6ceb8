"""`python -m services.archive [serve|migrate|<chore>]`: the archive's process and its chores (`CHORES`).

`serve` (the default) runs until SIGTERM or SIGINT. `rebuild` enters every stored pack that has no row
and ends; on an empty database it makes the index from packs alone. `keys`, `rotate-keys` and `reencrypt` are of
encryption at rest, `second-copy` and `restore` of the second copy (docs/keys.md); `check`, `compact` and `sweep`
look after what is stored (contracts, section 19). A chore prints one JSON document. Exit codes: 0 done, 1 failed or
different, 2 wrong settings, 4 a dependency is away, run it again.
"""

import argparse
import asyncio
import json
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from pydantic import ValidationError
from starlette.types import ASGIApp

from services.archive.app import Archive, build
from services.archive.encryption import commands
from services.archive.index.rebuild import Rebuilt, enter_missing
from services.archive.migrate import migrate
from services.archive.parts import parts_of, sink_of
from services.archive.second_copy import commands as second_copies
from services.archive.settings import ArchiveSettings
from services.archive.tombstones.burial import Burial
from services.archive.upkeep.command import add_chores, run_chore
from services.common import logs
from services.common.errors import Unavailable
from services.common.listening import listen
from services.common.tls import server_context

GRACE_SECONDS = 20
_log = logging.getLogger("services.archive")


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: two of them run in this process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.archive", description=__doc__)
    commands_of = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in ("serve", "migrate", *CHORES):
        commands_of.add_parser(name)
    add_chores(commands_of)
    options = parser.parse_args(arguments)
    command = options.command or "serve"
    try:
        settings = ArchiveSettings.from_environment()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = "_".join(str(part) for part in problem["loc"])
            print(f"PACS_{name.upper()}: {problem['msg']}" if name else problem["msg"], file=sys.stderr)
        return 2
    logs.configure("archive", settings.log_level)
    try:
        if command == "serve":
            uvloop.run(serve(settings))
        elif command == "migrate":
            migrate(settings.dsn)
        elif command in CHORES:
            print(json.dumps(CHORES[command](settings)))
        else:
            return run_chore(command, settings, options)
    except Unavailable:
        _log.exception("a dependency is away")
        return 4
    except (OSError, ValueError) as error:
        _log.exception("the archive cannot run")
        print(f"the archive cannot run: {error}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: ArchiveSettings) -> None:
    """Run everything until a signal; what was acknowledged is durable whenever this ends, however it ends."""
    public = listen(settings.http_host, settings.http_port)
    internal = listen(settings.internal_host, settings.internal_port)
    tls = _tls(settings)
    archive = build(settings)
    servers = [_server(archive.public, tls), _server(archive.internal, tls)]

    def end() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    archive.start()
    _announce(archive, public, internal)
    try:
        await asyncio.gather(servers[0].serve(sockets=[public]), servers[1].serve(sockets=[internal]))
    finally:
        await asyncio.to_thread(archive.stop)
        _log.info("archive ended")


def _tls(settings: ArchiveSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    return server_context(settings.tls_certificate_file, settings.tls_key_file)


def _server(app: ASGIApp, tls: ssl.SSLContext | None) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            lifespan="off",
            log_config=None,
            # uvicorn's access log would hold the query, and with it patients' names.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            # Longer than the gateway keeps an idle connection: a request must not meet one that is closing.
            timeout_keep_alive=65,
            ssl_context_factory=(lambda *_: tls) if tls else None,
        )
    )


def _announce(archive: Archive, public: socket.socket, internal: socket.socket) -> None:
    for name, port in (
        ("http", public.getsockname()[1]), ("internal", internal.getsockname()[1]), ("dimse", archive.dimse.port),
    ):  # fmt: skip
        _log.info("listening", extra={"action": name, "port": port})


def _rebuild(settings: ArchiveSettings) -> dict[str, int]:
    migrate(settings.dsn)
    parts = parts_of(settings)
    # First what hides, so that nothing hidden is seen for a moment.
    tombstones, unreadable = Burial(parts.store, parts.index, parts.metrics).enter_missing()
    result: Rebuilt = enter_missing(parts.store, parts.index, sink_of(settings, parts))
    return {
        "packs": result.packs, "entered": result.entered, "damaged": result.damaged + unreadable,
        "tombstones": tombstones,
    }  # fmt: skip


CHORES: dict[str, Callable[[ArchiveSettings], Mapping[str, Any]]] = {
    "rebuild": _rebuild,
    "keys": commands.keys,
    "rotate-keys": commands.rotate_keys,
    "reencrypt": commands.reencrypt,
    "second-copy": second_copies.second_copy,
    "restore": second_copies.restore,
}


if __name__ == "__main__":
    sys.exit(main())
