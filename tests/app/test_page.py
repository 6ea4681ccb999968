"""The page in a real browser: from a recording to a result that sounds, on a desk and on a phone."""

import io
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
import uvicorn

from retimbre import cli, serving
from retimbre.app import desk, server
from retimbre.audio.levels import loudness_lufs
from tests.toys import browser
from tests.toys.browser import WINDOWS, fits, playwright, until
from tests.toys.models import melody, write_models, write_resynthesis

RATE, SECONDS = 22050, 2.5
expect = playwright.expect
FAKE_MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_resynthesis(write_models(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[SimpleNamespace]:
    """The real command; ``temporary``: where it keeps files."""
    temporary = tmp_path_factory.mktemp("temporary")
    words = ("app", "--models", str(models), "--port", "0")
    with browser.serving(*words, TMPDIR=str(temporary)) as url:
        yield SimpleNamespace(url=url, temporary=temporary)
    assert not files_below(temporary), "the server's end leaves no file"


@pytest.fixture(scope="module")
def chromium() -> Iterator["playwright.Browser"]:
    with browser.chromium(*FAKE_MICROPHONE) as opened:
        yield opened


def files_below(folder: Path) -> list[Path]:
    """Files of the page's temporary folders."""
    return [path for path in folder.glob("retimbre-app-*/**/*") if path.is_file()]


@browser.needed
def test_from_upload_to_a_result_that_sounds(
    chromium: "playwright.Browser", served: SimpleNamespace, models: Path, tmp_path: Path
) -> None:
    song, by_command = tmp_path / "my song.wav", tmp_path / "out.wav"
    stereo = melody(SECONDS, RATE)[:, None] * [0.5, 0.3]
    soundfile.write(song, stereo, RATE, subtype="PCM_24")
    words = ["transfer", str(song), "--to", "guitar", "--system", "cyclegan", "--models", str(models)]
    cli.main([*words, "-o", str(by_command)])
    with browser.fresh_page(chromium, viewport=WINDOWS["desk"]) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(served.url)
        expect(page.locator("#go")).to_be_disabled()
        page.locator("#file").set_input_files(song)
        page.locator("#to").select_option("guitar")
        expect(page.locator("#system option")).to_have_text(
            [f"resynthesis of {models}", f"cyclegan of {models}"]
        )
        page.locator("#system").select_option(f"cyclegan of {models}")
        page.locator("#go").click()
        expect(page.locator("#result")).to_be_visible()
        assert fits(page)
        with page.expect_download() as download:
            page.locator("#download").click()
        assert download.value.suggested_filename == "my song-guitar.wav"
        assert Path(download.value.path()).read_bytes() == by_command.read_bytes()

        heard = {}
        for name in ("original", "result"):
            address = page.locator(f"#sound-{name}").get_attribute("src")
            heard[name], rate = soundfile.read(io.BytesIO(page.request.get(served.url + address).body()))
            assert rate == RATE and heard[name].shape == stereo.shape
        levels = [loudness_lufs(x, RATE) for x in heard.values()]
        assert abs(levels[0] - levels[1]) < 0.1 and levels[0] > -40

        page.locator("#play").click()
        until(page, "sounds.result.currentTime > 0.3 && !sounds.result.paused")
        page.get_by_label("original", exact=True).check()
        until(page, "sounds.result.paused && sounds.original.currentTime > 0.3")
        page.locator("#play").click()
        until(page, "sounds.original.paused")
        page.locator("#pictures").click(position={"x": 1, "y": 60})
        until(page, "sounds.original.currentTime < 0.1")
        for name in ("original", "result"):
            assert page.evaluate(f"find('picture-{name}').naturalWidth") > 100
        assert page.locator("#roll path").count() and "notes heard" in page.locator("#counts").inner_text()
        assert len(files_below(served.temporary)) == 3, "the upload is gone, three sounds are there"
        page.goto("about:blank")
    outside = [url for url in asked if not url.startswith((served.url, "data:", "about:"))]
    assert not outside and len(asked) > 8
    for _ in range(600):
        if not files_below(served.temporary):
            return
        time.sleep(0.05)
    raise AssertionError("the page was left, its files are still there")


@browser.needed
def test_a_telephone_records_and_bad_files_are_sentences(
    chromium: "playwright.Browser", served: SimpleNamespace, tmp_path: Path
) -> None:
    noise, long = tmp_path / "noise.mp3", tmp_path / "long.wav"
    noise.write_bytes(b"no sound at all" * 100)
    soundfile.write(long, np.zeros(601 * 1000, np.int16), 1000, subtype="PCM_U8")
    with browser.fresh_page(chromium, viewport=WINDOWS["phone"], color_scheme="dark") as page:
        late: list[playwright.Route] = []  # what the page asks for first is answered after a hasty click
        page.route("**/api/choices", lambda route: late.append(route))
        with page.expect_request("**/api/choices"):
            page.goto(served.url)
        page.locator("#file").set_input_files(noise)
        page.locator("#go").click()
        late[0].continue_()
        expect(page.locator("#problem")).to_contain_text("noise.mp3 is not audio that can be read")
        for file, said in ((noise, "not audio that can be read"), (long, "longer than 10 minutes")):
            page.locator("#file").set_input_files(file)
            page.locator("#go").click()
            expect(page.locator("#problem")).to_contain_text(f"{file.name} is {said}")
            expect(page.locator("#go")).to_be_enabled()
        page.locator("#record").click()
        expect(page.locator("#record")).to_contain_text("0:01")
        page.locator("#record").click()
        expect(page.locator("#chosen")).to_contain_text("recording.wav")
        page.locator("#go").click()
        expect(page.locator("#result")).to_be_visible()
        expect(page.locator("#problem")).to_be_hidden()
        assert fits(page) and page.locator("#time").inner_text().startswith("0:00 / 0:0")
        page.get_by_role("button", name="Piano, a chorale").click()
        expect(page.locator("#chosen")).to_contain_text("piano.ogg")


def test_what_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of another type, too large ones, unknown systems, jobs that are not there, a full desk."""
    monkeypatch.setattr(server, "MOST_BYTES", 1000)
    monkeypatch.setattr(desk, "MOST_WAITING", 0)
    binary = {"Content-Type": "application/octet-stream"}

    def ask(path: str, body: bytes | None = None, headers: dict[str, str] = binary) -> tuple[int, str]:
        request = urllib.request.Request(url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def work(job: desk.Job) -> dict:
        return {}

    with desk.Desk(work) as counter, serving.listener("127.0.0.1", 0) as (listening, url):
        running = uvicorn.Server(uvicorn.Config(server.create_app(counter, str(models)), log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        add = "api/jobs?name=a.wav&to=guitar&system="
        system = quote(f"cyclegan of {models}")
        assert ask(add + system, b"x", {"Content-Type": "text/plain"})[0] == 415
        assert ask(f"{add}..%2Fvocoder", b"x") == (
            422,
            '{"error":"\'../vocoder\' is not a trained system: choose another."}',
        )
        assert ask(add + system, b"x")[0] == 503
        monkeypatch.setattr(desk, "MOST_WAITING", 1)
        assert ask(add + system, b"x" * 1001)[0] == 413
        assert not list(Path(counter.place.name).iterdir())
        status, said = ask(add + system, b"x")
        assert status == 201
        for path in ("api/jobs/none", f"api/jobs/{said[7:39]}/recording.wav", "api/jobs/none/result.wav"):
            assert ask(path)[0] == 404, path
        assert ask("desk.py")[0] == ask("..%2Fdesk.py")[0] == 404
        running.should_exit = True
        thread.join(60)


def test_without_models_the_command_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["app", "--models", str(tmp_path)])
    assert end.value.code == 1
    assert f"error: {tmp_path} has no trained system: train one with" in capsys.readouterr().err
