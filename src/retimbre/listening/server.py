"""The server of a listening test: static files of ``site/``, sessions, answers. FastAPI on 127.0.0.1 unless told otherwise.

An answer is acknowledged only when it is on the disk. Nothing about the sender is written: no address, no headers; addresses
are held in memory, hashed, for the rate limit only. Answers take ``application/json`` alone, which another site's page cannot
send without being asked first (and no origin is allowed).
"""

import hmac
import os
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from retimbre.errors import RetimbreError
from retimbre.listening.responses import Conflict, Misfit, Plan, Record, Store, to_csv

MAX_BODY_BYTES = 32_768
SESSIONS_PER_MINUTE, ANSWERS_PER_MINUTE = 30, 240  # per address
REMEMBERED_ADDRESSES = 10_000
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class TooLarge(Exception):
    pass


class NotJson(Exception):
    pass


class SessionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    study: StrictStr
    study_hash: StrictStr


class RateLimit:
    """At most ``per_minute`` events per key in any minute; keys are forgotten when they are old or too many."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic):
        self.per_minute, self.clock = per_minute, clock
        self.events: dict[bytes, deque[float]] = {}

    def allow(self, key: bytes) -> bool:
        now = self.clock()
        events = self.events.pop(key, deque())
        while events and events[0] <= now - 60:
            events.popleft()
        allowed = len(events) < self.per_minute
        if allowed:
            events.append(now)
        self.events[key] = events  # last in the order: the oldest keys come first
        while len(self.events) > REMEMBERED_ADDRESSES:
            self.events.pop(next(iter(self.events)))
        return allowed


class Site(StaticFiles):
    """``site/`` and nothing else, with its page not cached."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        audio = path.replace(os.sep, "/").startswith("audio/")
        response.headers["Cache-Control"] = "private, max-age=86400" if audio else "no-cache"
        return response


async def read_json(request: Request) -> bytes:
    """The body, refused early when it is too large or not declared as JSON."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise NotJson
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return bytes(body)


def export_token(folder: Path) -> str:
    """The study's password for ``/api/export.csv``, made once, readable by its owner only."""
    path = folder / "export_token"
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


def problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part)[:40] for part in first['loc']) or 'body'}: {first['msg'][:200]}"


def create_app(
    folder: Path,
    store: Store,
    sessions_per_minute: int = SESSIONS_PER_MINUTE,
    answers_per_minute: int = ANSWERS_PER_MINUTE,
) -> FastAPI:
    """The application of the study in ``folder``, writing to ``store``."""
    plan = store.plan
    token = export_token(folder)
    salt = secrets.token_bytes(16)
    limits = {"session": RateLimit(sessions_per_minute), "responses": RateLimit(answers_per_minute)}
    app = FastAPI(title="listening test", docs_url=None, redoc_url=None, openapi_url=None)

    def too_many(kind: str, request: Request) -> bool:
        address = request.client.host if request.client else ""
        return not limits[kind].allow(hmac.digest(salt, address.encode(), "sha256"))

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers[name] = value
        if request.url.path.startswith("/api/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.exception_handler(TooLarge)
    async def too_large(request: Request, error: TooLarge) -> Response:
        return problem(413, f"more than {MAX_BODY_BYTES} bytes")

    @app.exception_handler(NotJson)
    async def not_json(request: Request, error: NotJson) -> Response:
        return problem(415, "the body must be application/json")

    @app.post("/api/session")
    async def session(request: Request) -> Response:
        body = await read_json(request)
        try:
            asked = SessionRequest.model_validate_json(body)
        except ValidationError as error:
            return problem(422, _sentence(error))
        if (asked.study, asked.study_hash) != (plan.study, plan.hash):
            return problem(409, "the page is of another study: load it again")
        if too_many("session", request):
            return problem(429, "too many sessions: wait a minute")
        name = secrets.token_hex(16)
        try:
            # One event loop and no await between reading and writing the store: appends never interleave.
            order = store.start(name)
        except OSError:
            return problem(507, "the session could not be stored")
        return JSONResponse({"session": name, "order": order}, 201)

    @app.post("/api/responses")
    async def responses(request: Request) -> Response:
        body = await read_json(request)
        if too_many("responses", request):
            return problem(429, "too many answers: wait a minute")
        try:
            record = Record.model_validate_json(body)
        except ValidationError as error:
            return problem(422, _sentence(error))
        if record.simulated:
            return problem(422, "simulated answers are not taken here")
        if record.session not in store.sessions:
            return problem(404, "no such session")
        try:
            new = store.add([record])
        except Conflict as conflict:
            return problem(409, str(conflict))
        except Misfit as misfit:
            return problem(422, str(misfit))
        except OSError:
            return problem(507, "the answer could not be stored")
        return JSONResponse({"stored": True, "duplicate": new == 0}, 201 if new else 200)

    @app.get("/api/export.csv")
    async def export(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return problem(401, "send the study's export_token as `Authorization: Bearer ...`")
        return PlainTextResponse(await run_in_threadpool(lambda: to_csv(store.records())), media_type="text/csv")

    @app.api_route("/api/{rest:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    async def nothing(rest: str) -> Response:
        return problem(404, "nothing here")

    app.mount("/", Site(directory=folder / "site", html=True, follow_symlink=False))
    return app


def serve(folder: Path, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve a built study until it is stopped. Raises RetimbreError: not built, in use, or the port is taken."""
    import socket

    import uvicorn

    plan = Plan.load(folder)
    with Store(folder, plan) as store:
        app = create_app(folder, store)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)  # before the address is printed, so that nobody who reads it is refused
        except (OSError, OverflowError) as error:
            listener.close()
            reason = getattr(error, "strerror", None) or "no such port"
            raise RetimbreError(f"--host {host} --port {port} cannot be served ({reason}): choose another with --host or --port.") from None
        shown = f"[{host}]" if ":" in host else host
        print(f"listening test {plan.study}: http://{shown}:{listener.getsockname()[1]}/  ({len(store.seen)} pages answered)", flush=True)
        print(f"answers: {store.paths['responses']}  (Ctrl-C ends; export with the token in {folder / 'export_token'})", flush=True)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_keep_alive=30, h11_max_incomplete_event_size=65536
        )
        uvicorn.Server(config).run(sockets=[listener])
