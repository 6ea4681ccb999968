"""The server over real sockets: what it serves, what it refuses, and that kill -9 loses no acknowledged answer."""

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
import uvicorn
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from test_responses import answers_of

from retimbre.errors import RetimbreError
from retimbre.listening import server
from retimbre.listening.responses import Plan, Store, read_records
from tests.toys import ROOT

JSON = {"Content-Type": "application/json"}


class Client:
    def __init__(self, port: int, folder: Path):
        self.port, self.folder, self.plan = port, folder, Plan.load(folder)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
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


def start(folder: Path, **limits: int) -> Iterator[Client]:
    with Store(folder, Plan.load(folder)) as store:
        listener = socket.create_server(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(server.create_app(folder, store, **limits), log_level="error", access_log=False))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield Client(listener.getsockname()[1], folder)
        running.should_exit = True
        thread.join(20)


@pytest.fixture
def client(built: Path) -> Iterator[Client]:
    yield from start(built)


@pytest.fixture(scope="module")
def open_client(tmp_path_factory: pytest.TempPathFactory, built_once: Path) -> Iterator[Client]:
    """One without limits of rate, for the fuzzing."""
    folder = Path(shutil.copytree(built_once, tmp_path_factory.mktemp("open") / "study"))
    yield from start(folder, sessions_per_minute=10**9, answers_per_minute=10**9)


def test_page_and_clips_are_served_with_a_policy(client: Client) -> None:
    for path in ("/", "/index.html", "/app.js", "/study.json", "/jspsych.js", "/plugins/preload.js", "/style.css"):
        status, body, headers = client.ask("GET", path)
        assert status == 200 and body, path
        assert "default-src 'none'" in headers["content-security-policy"] and "unsafe-eval" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    clip = next((client.folder / "site/audio").glob("*.wav"))
    status, body, headers = client.ask("GET", f"/audio/{clip.name}", headers={"Range": "bytes=0-99"})
    assert status == 206 and body == clip.read_bytes()[:100], "Safari plays nothing without ranges"


@pytest.mark.parametrize(
    "path",
    [
        "/key.csv", "/secret", "/frozen.json", "/protocol.md", "/export_token", "/responses/responses.jsonl", "/../key.csv",
        "/..%2fkey.csv", "/%2e%2e/key.csv", "/audio/../../key.csv", "/audio/..%2f..%2fsecret", "//etc/passwd", "/%2fetc%2fpasswd",
        "/..\\key.csv",        "/audio/", "/plugins", "/%00", "/docs", "/openapi.json", "/api/", "/api/responses/../../key.csv",
    ],
)  # fmt: skip
def test_nothing_else_is_served(client: Client, path: str) -> None:
    secret = (client.folder / "secret").read_text().strip().encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        reply = b""
        while chunk := raw.recv(65536):
            reply += chunk
    status = int(reply.split()[1])
    assert status in (307, 400, 404, 405), reply[:200]
    assert secret not in reply and b"eq_match" not in reply and b"root:" not in reply


def test_links_out_of_the_site_are_not_followed(client: Client) -> None:
    (client.folder / "site/audio/link.wav").symlink_to(client.folder / "secret")
    assert client.ask("GET", "/audio/link.wav")[0] == 404


def test_a_session_and_its_answers(client: Client) -> None:
    session, order = client.begin()
    assert re.fullmatch("[0-9a-f]{32}", session) and order == 0
    assert client.begin()[1] == 1, "the next listener has the next order"
    value = client.answer(session, order, 1)
    assert client.post("/api/responses", value) == (201, {"stored": True, "duplicate": False})
    assert client.post("/api/responses", value) == (200, {"stored": True, "duplicate": True})
    assert client.post("/api/responses", value | {"rt_ms": 1})[0] == 409
    assert client.post("/api/responses", client.answer("0" * 32, 0, 1))[0] == 404
    assert client.post("/api/responses", client.answer(session, order, 2) | {"simulated": True})[0] == 422
    assert client.post("/api/responses", client.answer(session, order, 2) | {"name": "Ann"})[0] == 422
    assert client.post("/api/session", {"study": "other", "study_hash": "x"})[0] == 409
    records = read_records(client.folder)
    assert [r.trial for r in records] == [1]
    stored = (client.folder / "responses/responses.jsonl").read_text() + (client.folder / "responses/sessions.jsonl").read_text()
    assert "127.0.0.1" not in stored


def test_only_json_of_a_modest_size(client: Client) -> None:
    body = json.dumps({"study": client.plan.study, "study_hash": client.plan.hash}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert client.ask("POST", "/api/session", body, {"Content-Type": kind})[0] == 415, "another site's form could send it"
    assert client.ask("POST", "/api/responses", b" " * (server.MAX_BODY_BYTES + 1), JSON)[0] == 413
    chunks = iter([b"x" * 8192] * 8)  # no Content-Length
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    try:
        connection.request("POST", "/api/responses", chunks, JSON, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused while we were still sending
    finally:
        connection.close()
    assert "access-control-allow-origin" not in client.ask("OPTIONS", "/api/responses", headers={"Origin": "https://evil.example"})[2]


def test_export_needs_the_token(client: Client) -> None:
    session, order = client.begin()
    client.post("/api/responses", client.answer(session, order, 1))
    token = server.export_token(client.folder)
    assert client.ask("GET", "/api/export.csv")[0] == 401
    assert client.ask("GET", "/api/export.csv", headers={"Authorization": "Bearer \xff"})[0] == 401
    status, body, headers = client.ask("GET", "/api/export.csv", headers={"Authorization": f"Bearer {token}"})
    assert status == 200 and session in body.decode() and headers["content-type"].startswith("text/csv")


def test_rates_are_limited(built: Path) -> None:
    for client in start(built, sessions_per_minute=3, answers_per_minute=2):
        asked = {"study": client.plan.study, "study_hash": client.plan.hash}
        assert [client.post("/api/session", asked)[0] for _ in range(4)] == [201, 201, 201, 429]


def test_rate_limit_forgets_after_a_minute() -> None:
    now = [0.0]
    limit = server.RateLimit(2, lambda: now[0])
    assert [limit.allow(b"a") for _ in range(3)] == [True, True, False] and limit.allow(b"b")
    now[0] = 61
    assert limit.allow(b"a")
    for n in range(server.REMEMBERED_ADDRESSES + 5):
        limit.allow(str(n).encode())
    assert len(limit.events) <= server.REMEMBERED_ADDRESSES


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@fuzz(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_that_is_sent_breaks_it(open_client: Client, data: st.DataObject) -> None:
    """Malformed JSON, wrong types, unicode, duplicate keys: an answer from 400 to 422, never 500, and nothing is written."""
    path = data.draw(st.sampled_from(["/api/session", "/api/responses"]))
    good = answers_of(open_client.plan, 1)
    kind = data.draw(st.sampled_from(["bytes", "json", "field", "nested", "twice"]))
    if kind == "bytes":
        body = data.draw(st.binary(max_size=200))
    elif kind == "json":
        body = json.dumps(data.draw(anything)).encode()
    elif kind == "field":
        body = json.dumps(good | {data.draw(st.sampled_from([*good, "x"])): data.draw(anything)}).encode()
    elif kind == "nested":
        answer = good["answers"][0] | {data.draw(st.sampled_from(["question", "slot", "token", "value", "y"])): data.draw(anything)}
        body = json.dumps(good | {"answers": [answer]}).encode()
    else:
        text = json.dumps(good)
        body = (text[:-1] + ', "session": ' + json.dumps(data.draw(st.text(max_size=5))) + "}").encode()
    before = open_client.folder / "responses/responses.jsonl"
    size = before.stat().st_size if before.exists() else 0
    status, reply, _ = open_client.ask("POST", path, body, JSON)
    assert status in (404, 409, 413, 422), (status, reply)
    assert set(json.loads(reply)) == {"error"}
    assert (before.stat().st_size if before.exists() else 0) == size


def serve_process(folder: Path) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-m", "retimbre.cli", "listen", "serve", "--study", str(folder), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r":(\d+)/", process.stdout.readline())
    assert found, process.communicate()[0]
    return process, int(found.group(1))


def test_killed_while_answering_it_keeps_every_acknowledged_answer(built: Path) -> None:
    """SIGKILL in the middle of a burst; after a restart every acknowledged page is there, and unanswered ones can be sent again."""
    plan = Plan.load(built)
    acknowledged: list[int] = []
    session, order = "", 0
    for round_number in range(2):
        process, port = serve_process(built)
        client = Client(port, built)
        try:
            if not session:
                session, order = client.begin()
            for trial in range(1, len(plan.orders[order]) + 1):
                if round_number == 0 and len(acknowledged) == 5:
                    killer = threading.Timer(0.005, lambda p=process: os.kill(p.pid, signal.SIGKILL))
                    killer.start()
                try:
                    status, reply = client.post("/api/responses", client.answer(session, order, trial))
                except (OSError, http.client.HTTPException, json.JSONDecodeError):
                    break
                assert status in (200, 201), reply
                if round_number == 1 and trial in acknowledged:
                    assert reply["duplicate"], f"page {trial} was acknowledged and is gone"
                elif round_number == 0:
                    acknowledged.append(trial)
        finally:
            process.kill()
            process.communicate(timeout=20)
        if round_number == 0:
            assert 5 <= len(acknowledged) < len(plan.orders[order]), "it was not killed in the middle"
            with (built / "responses/responses.jsonl").open("ab") as file:
                file.write(b'{"study": "tt4", "torn')  # what a crash in the middle of a write leaves
    assert {r.trial for r in read_records(built)} == set(range(1, len(plan.orders[order]) + 1))


def test_a_taken_port_and_an_unbuilt_study_are_said(built: Path, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(RetimbreError, match="cannot be served .*choose another with --host or --port"),
    ):
        server.serve(built, port=taken.getsockname()[1])
    with pytest.raises(RetimbreError, match="build the study with `retimbre listen build`"):
        server.serve(tmp_path)
