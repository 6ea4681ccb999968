"""Local web servers: their address, their headers, their answers to what is refused."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from retimbre.errors import RetimbreError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
GRACE_S = 2  # for answers under way when the server is stopped


def problem(status: int, text: str) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": text}, status)


@contextmanager
def listener(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and its address for people. Raises RetimbreError where it cannot.

    It listens before the address is known, so that nobody who reads it is refused. Port 0 takes any free one.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such port"
        raise RetimbreError(
            f"--host {host} --port {port} cannot be served ({reason}): choose another with --host or --port."
        ) from None
    with listening:
        shown = f"[{host}]" if ":" in host else host
        yield listening, f"http://{shown}:{listening.getsockname()[1]}/"


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve until the process is told to stop."""
    quiet = {"log_level": "warning", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE_S, **quiet)
    uvicorn.Server(config).run(sockets=[listening])
