"""Server of the page: static files of ``site/``, recordings in, progress and results out.

Uploads take ``application/octet-stream`` alone, which another site's page cannot send without being asked
first (and no origin is allowed). A job is known by a random number that only its page has been told.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from retimbre.app.desk import Desk, Full, Job
from retimbre.app.transfer import LONGEST_S, Transfer, about, choices
from retimbre.errors import RetimbreError
from retimbre.serving import HEADERS, listener, problem, run
from retimbre.vocoders.params import Rendering

MOST_BYTES = 250_000_000  # ten minutes of stereo at 48 kHz in 32 bits are 230 MB
OWN_HEADERS = HEADERS | {
    "Permissions-Policy": "camera=(), microphone=(self), geolocation=()",
    "Cache-Control": "no-store",
}
SOUNDS = ("original", "result", "transferred")


def create_app(desk: Desk, models: str | None) -> FastAPI:
    """The application, whose jobs go over ``desk`` and use the systems of ``models``."""
    app = FastAPI(title="retimbre", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(OWN_HEADERS)
        return response

    @app.exception_handler(RetimbreError)
    async def refused(request: Request, error: RetimbreError) -> Response:
        return problem(422, str(error))

    @app.get("/api/choices")
    async def offered() -> Response:
        limits = {"bytes": MOST_BYTES, "seconds": LONGEST_S}
        return JSONResponse({"systems": [about(found) for found in choices(models).values()], "most": limits})

    @app.post("/api/jobs")
    async def begin(request: Request, name: str, to: str, system: str) -> Response:
        if request.headers.get("content-type") != "application/octet-stream":
            return problem(415, "the body must be application/octet-stream")
        if system not in choices(models):
            raise RetimbreError(f"{system!r} is not a trained system: choose another.")
        try:
            job = desk.open(name, to, system)
        except Full:
            return problem(503, "Too many recordings are waiting: try again in a few minutes.")
        size = 0
        try:
            with open(job.source, "wb") as file:
                async for block in request.stream():
                    size += len(block)
                    if size > MOST_BYTES:
                        return problem(413, f"{name} is larger than {MOST_BYTES // 10**6} MB: cut it.")
                    file.write(block)
            desk.submit(job)
        finally:
            if job.id not in desk.jobs:
                desk.discard(job)
        return JSONResponse({"id": job.id}, 201)

    @app.get("/api/jobs/{id}")
    async def state(id: str) -> Response:
        if (job := desk.jobs.get(id)) is None:
            return gone()
        progress = {"done": job.done, "total": job.total, "ahead": desk.ahead(job)}
        return JSONResponse({"state": job.state, **progress, "error": job.error, "result": job.result})

    @app.get("/api/jobs/{id}/{sound}.wav")
    async def sound(id: str, sound: str) -> Response:
        job = desk.jobs.get(id)
        if job is None or job.state != "done" or sound not in SOUNDS:
            return gone()
        saved = download_name(job) if sound == "transferred" else None
        return FileResponse(job.folder / f"{sound}.wav", media_type="audio/wav", filename=saved)

    @app.delete("/api/jobs/{id}")
    async def drop(id: str) -> Response:
        desk.drop(id)
        return Response(status_code=204)

    app.mount("/", StaticFiles(directory=Path(__file__).with_name("site"), html=True))
    return app


def gone() -> Response:
    return problem(404, "This result is no longer kept: transfer the recording again.")


def download_name(job: Job) -> str:
    """Name of the result's file, as the command would choose it."""
    return f"{Path(job.name).stem}-{job.to}.wav"


def serve(models: str | None, rendering: Rendering, host: str, port: int) -> None:
    """Serve the page until it is stopped. Raises RetimbreError: no trained system, or the port is taken."""
    choices(models)
    with listener(host, port) as (listening, address), Desk(Transfer(models, rendering)) as desk:
        print(f"retimbre app: {address}  (Ctrl-C ends)", flush=True)
        run(create_app(desk, models), listening)
