"""Sockets that a service listens on, and what is said when one is not to be had."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket that listens on `host`:`port`; 0 is a free one. Raises OSError saying what to do."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise cannot_listen(host, port, error) from error


def cannot_listen(host: str, port: int, error: OSError) -> OSError:
    """The same error, told to a person: which port, why, and what to do."""
    return OSError(
        error.errno,
        f"cannot listen on {host}:{port}: {error.strerror}. "
        f"Find what uses the port with `ss -ltnp sport = :{port}` and end it, or set another port or address",
    )
