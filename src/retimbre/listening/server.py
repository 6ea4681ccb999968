"""Server of a listening test: static files of ``site/``, sessions, answers. On 127.0.0.1 by default.

An answer is acknowledged only when it is on the disk. Nothing about the sender is kept: no address, no
headers. Answers take ``application/json`` alone, which another site's page cannot send without being asked
first (and no origin is allowed).
"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, StrictStr

from retimbre.listening.responses import Conflict, Misfit, Plan, Record, Store, Unknown
from retimbre.serving import HEADERS, listener, problem, run

MAX_BODY_BYTES = 32_768
STATUS = {Unknown: 404, Conflict: 409, Misfit: 422, sqlite3.OperationalError: 507}


class SessionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    study: StrictStr
    study_hash: StrictStr


def refusal(request: Request) -> JSONResponse | None:
    """Answer to a body that is not read: not declared as JSON, of no stated length, or too large."""
    if request.method != "POST":
        return None
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return problem(415, "the body must be application/json")
    length = request.headers.get("content-length", "")  # the HTTP parser holds the sender to it
    if not length.isdecimal():
        return problem(411, "the body's length must be stated")
    return problem(413, f"more than {MAX_BODY_BYTES} bytes") if int(length) > MAX_BODY_BYTES else None


def create_app(folder: Path, store: Store) -> FastAPI:
    """The application of the study in ``folder``, writing to ``store``.

    The handlers run on one event loop and do not wait while they use the store, so that they never
    interleave.
    """
    app = FastAPI(title="listening test", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = refusal(request) or await call_next(request)
        response.headers.update(HEADERS)
        # Loaded clips play on when the server goes away; the page itself is asked for anew.
        kept = request.url.path.startswith("/audio/") and response.status_code < 400
        response.headers["Cache-Control"] = "private, max-age=86400" if kept else "no-cache"
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]  # without what was sent, which may be anything
        return problem(422, f"{'.'.join(str(part)[:40] for part in first['loc'])}: {first['msg'][:200]}")

    @app.post("/api/session")
    async def session(asked: SessionRequest) -> Response:
        if (asked.study, asked.study_hash) != (store.plan.study, store.plan.hash):
            return problem(409, "the page is of another study: load it again")
        name = secrets.token_hex(16)
        try:
            return JSONResponse({"session": name, "order": store.start(name)}, 201)
        except sqlite3.OperationalError as error:
            return problem(507, f"the session could not be stored ({error})")

    @app.post("/api/responses")
    async def responses(record: Record) -> Response:
        if record.simulated:
            return problem(422, "simulated answers are not taken here")
        try:
            new = store.add(record)
        except tuple(STATUS) as error:
            return problem(STATUS[type(error)], str(error))
        return JSONResponse({"stored": True, "duplicate": not new}, 201 if new else 200)

    app.mount("/", StaticFiles(directory=folder / "site", html=True, follow_symlink=False))
    return app


def serve(folder: Path, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve a built study until it is stopped. Raises RetimbreError: not built, or the port is taken."""
    plan = Plan.load(folder)
    with listener(host, port) as (listening, address), Store(folder, plan) as store:
        print(f"listening test {plan.study}: {address}", flush=True)
        print(f"answers: {store.path}  (Ctrl-C ends; `retimbre listen export` prints them)", flush=True)
        run(create_app(folder, store), listening)
