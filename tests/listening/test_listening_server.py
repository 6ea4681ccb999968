"""The server over real sockets: what it serves and refuses; kill -9 loses no acknowledged answer."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from test_responses import answers_of

from retimbre.errors import RetimbreError
from retimbre.listening import responses, server
from retimbre.listening.responses import Plan, read_answers
from tests.listening.conftest import HANGS_S, serving
from tests.toys import ROOT

JSON = {"Content-Type": "application/json"}


class Client:
    def __init__(self, port: int, folder: Path):
        self.port, self.folder, self.plan = port, folder, Plan.load(folder)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS_S)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}
        finally:
            connection.close()

    def post(self, path: str, value: Any) -> tuple[int, dict[str, Any]]:
        status, body, _ = self.ask("POST", path, json.dumps(value).encode(), JSON)
        return status, json.loads(body)

    def begin(self) -> tuple[str, int]:
        status, reply = self.post("/api/session", {"study": self.plan.study, "study_hash": self.plan.hash})
        assert status == 201, reply
        return reply["session"], reply["order"]

    def answer(self, session: str, order: int, trial: int) -> dict[str, Any]:
        return answers_of(self.plan, trial, order) | {"session": session}

    def stored(self) -> bytes:
        return (self.folder / responses.ANSWERS).read_bytes()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, built_once: Path) -> Iterator[Client]:
    """One server for all tests; each begins its own session."""
    folder = Path(shutil.copytree(built_once, tmp_path_factory.mktemp("served") / "study"))
    with serving(folder) as port:
        yield Client(port, folder)


def test_page_and_clips_are_served_with_a_policy(client: Client) -> None:
    names = ("index.html", "app.js", "study.json", "jspsych.js", "plugins/preload.js", "style.css")
    for path in (f"/{name}" for name in ("", *names)):
        status, body, headers = client.ask("GET", path)
        assert status == 200 and body, path
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe-eval" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    clip = next((client.folder / "site/audio").glob("*.wav"))
    status, body, _ = client.ask("GET", f"/audio/{clip.name}", headers={"Range": "bytes=0-99"})
    assert status == 206 and body == clip.read_bytes()[:100], "Safari plays nothing without ranges"


@pytest.mark.parametrize(
    "path",
    [
        "/key.csv", "/secret", "/frozen.json", "/protocol.md", "/responses/answers.sqlite", "/../key.csv",
        "/..%2fkey.csv", "/%2e%2e/key.csv", "/audio/../../key.csv", "/audio/..%2f..%2fsecret", "//etc/passwd",
        "/%2fetc%2fpasswd", "/..\\key.csv", "/audio/", "/plugins", "/%00", "/docs", "/openapi.json", "/api/",
        "/api/responses/../../key.csv", "/api/export.csv",
    ],
)  # fmt: skip
def test_nothing_else_is_served(client: Client, path: str) -> None:
    secret = (client.folder / "secret").read_text().strip().encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=HANGS_S) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while chunk := raw.recv(65536):
            reply += chunk
    assert int(reply.split()[1]) in (307, 400, 404, 405), reply[:200]
    assert secret not in reply and b"eq_match" not in reply and b"root:" not in reply


def test_links_out_of_the_site_are_not_followed(client: Client) -> None:
    (client.folder / "site/audio/link.wav").symlink_to(client.folder / "secret")
    assert client.ask("GET", "/audio/link.wav")[0] == 404


def test_a_session_and_its_answers(client: Client) -> None:
    (session, order), (_, other) = client.begin(), client.begin()
    assert re.fullmatch("[0-9a-f]{32}", session) and other != order, "the next listener has another order"
    value = client.answer(session, order, 1)
    assert client.post("/api/responses", value) == (201, {"stored": True, "duplicate": False})
    assert client.post("/api/responses", value) == (200, {"stored": True, "duplicate": True})
    assert client.post("/api/responses", value | {"rt_ms": 1})[0] == 409
    assert client.post("/api/responses", client.answer("0" * 32, 0, 1))[0] == 404
    assert client.post("/api/responses", client.answer(session, order, 2) | {"simulated": True})[0] == 422
    assert client.post("/api/responses", client.answer(session, order, 2) | {"name": "Ann"})[0] == 422
    assert client.post("/api/session", {"study": "other", "study_hash": "x"})[0] == 409
    table = read_answers(client.folder, client.plan)
    assert set(table.trial[table.session == session]) == {1}
    assert b"127.0.0.1" not in client.stored()


def test_only_json_of_a_modest_and_stated_size(client: Client) -> None:
    body = json.dumps({"study": client.plan.study, "study_hash": client.plan.hash}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        status, _, _ = client.ask("POST", "/api/session", body, {"Content-Type": kind})
        assert status == 415, "another site's form could send it"
    assert client.ask("POST", "/api/responses", b" " * (server.MAX_BODY_BYTES + 1), JSON)[0] == 413
    with socket.create_connection(("127.0.0.1", client.port), timeout=HANGS_S) as raw:
        head = "POST /api/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert raw.recv(65536).split()[1] == b"411"
    _, _, headers = client.ask("OPTIONS", "/api/responses", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in headers


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@fuzz(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_that_is_sent_breaks_it(client: Client, data: st.DataObject) -> None:
    """Malformed JSON, wrong types, unicode, duplicate keys: an answer from 400 to 422, nothing is written."""
    path = data.draw(st.sampled_from(["/api/session", "/api/responses"]))
    good = answers_of(client.plan, 1)  # of a session that was never begun
    kind = data.draw(st.sampled_from(["bytes", "json", "field", "nested", "twice"]))
    if kind == "bytes":
        body = data.draw(st.binary(max_size=200))
    elif kind == "json":
        body = json.dumps(data.draw(anything)).encode()
    elif kind == "field":
        body = json.dumps(good | {data.draw(st.sampled_from([*good, "x"])): data.draw(anything)}).encode()
    elif kind == "nested":
        name = data.draw(st.sampled_from(["question", "slot", "token", "value", "y"]))
        body = json.dumps(good | {"answers": [good["answers"][0] | {name: data.draw(anything)}]}).encode()
    else:
        twice = json.dumps(data.draw(st.text(max_size=5)))
        body = f'{json.dumps(good)[:-1]}, "session": {twice}}}'.encode()
    before = client.stored()
    status, reply, _ = client.ask("POST", path, body, JSON)
    assert status in (400, 404, 409, 413, 422), (status, reply)
    assert len(json.loads(reply)) == 1 and client.stored() == before


@pytest.mark.parametrize(
    "body", [b"[" * 30_000, b'{"study": ' + b"9" * 30_000 + b"}", b'{"study": "\\ud800"}', b"\xff"]
)
def test_bodies_made_to_break_parsers_are_refused(client: Client, body: bytes) -> None:
    assert client.ask("POST", "/api/session", body, JSON)[0] in (400, 422)


def serve_process(folder: Path) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-m", "retimbre.cli", "listen", "serve", "--study", str(folder), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    found = re.search(r":(\d+)/", process.stdout.readline())
    assert found, process.communicate()[0]
    return process, int(found.group(1))


def test_killed_while_answering_it_keeps_every_acknowledged_answer(built: Path) -> None:
    """SIGKILL in a burst; after a restart every acknowledged page is there, the others can be sent."""
    acknowledged = 0
    process, port = serve_process(built)
    try:
        client = Client(port, built)
        session, order = client.begin()
        trials = range(len(client.plan.orders[order]) + 1)

        def burst() -> None:
            nonlocal acknowledged
            for trial in trials:
                assert client.post("/api/responses", client.answer(session, order, trial))[0] == 201
                acknowledged += 1
                if trial == 4:
                    half_way.set()

        def until_it_is_gone() -> None:
            try:
                burst()
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                pass

        half_way = threading.Event()
        listener = threading.Thread(target=until_it_is_gone)
        listener.start()
        assert half_way.wait(HANGS_S)
        os.kill(process.pid, signal.SIGKILL)
        listener.join(HANGS_S)
    finally:
        process.kill()
        process.communicate(timeout=HANGS_S)
    process, port = serve_process(built)
    try:
        client = Client(port, built)
        for trial in trials:
            status, reply = client.post("/api/responses", client.answer(session, order, trial))
            assert status in (200, 201), reply
            assert trial >= acknowledged or reply["duplicate"], f"page {trial} was acknowledged and is gone"
    finally:
        process.kill()
        process.communicate(timeout=HANGS_S)
    assert set(read_answers(built, client.plan).trial) == set(trials)


def test_a_taken_port_and_an_unbuilt_study_are_said(built: Path, tmp_path: Path) -> None:
    refusal = "cannot be served .*choose another with --host or --port"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RetimbreError, match=refusal):
        server.serve(built, port=taken.getsockname()[1])
    with pytest.raises(RetimbreError, match="build the study with `retimbre listen build`"):
        server.serve(tmp_path)
