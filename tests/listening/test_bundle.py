"""The bundle: nothing that is served tells which system made a clip; frozen means frozen."""

import hashlib
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import yaml

from retimbre.errors import RetimbreError
from retimbre.listening import bundle, questions, study
from retimbre.listening.params import Listening
from retimbre.listening.responses import Plan, Store

Settings = Callable[..., Listening]
WORDS = (
    "piano guitar violin flute cyclegan knn eq_match copy oracle unrelated anchor target source baseline "
    "bach ryansMammoth mono poly direction"
).split()
SERVED_BY_US = ("index.html", "study.json", "app.js", "answers.js", "player.js", "style.css")


def words_in(text: str) -> list[str]:
    return [w for w in WORDS if re.search(rf"(?<![A-Za-z]){w}", text, re.IGNORECASE)]


def test_no_system_or_instrument_word_is_served(built_once: Path) -> None:
    site = built_once / "site"
    names = [str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()]
    assert not [n for n in names if words_in(n)]
    audio = [n for n in names if n.startswith("audio/")]
    assert audio and all(re.fullmatch(r"audio/[0-9a-f]{16}\.wav", n) for n in audio)
    served = json.loads((site / "study.json").read_text())
    # The one exemption: the answers of the question which instrument is heard.
    options = served["blocks"]["timbre"]["questions"][0].pop("options")
    assert {"piano", "guitar", questions.NONE_OF_THESE} <= {value for value, _ in options}
    assert words_in(json.dumps(served)) == []
    assert words_in((site / "index.html").read_text()) == []


def test_the_key_and_the_secret_stay_outside(built_once: Path) -> None:
    site = built_once / "site"
    secret = (built_once / "secret").read_text().strip()
    assert (built_once / "secret").stat().st_mode & 0o077 == 0
    for path in site.rglob("*"):
        assert path.name not in ("key.csv", "secret", "frozen.json", "protocol.md")
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
    ignored = (built_once / ".gitignore").read_text().split()
    assert {"/secret", "/key.csv", "/responses/"} <= set(ignored)


def test_clips_are_what_the_key_says(built_once: Path, evaluation: Path) -> None:
    key = bundle.read_key(built_once)
    files = {p.stem for p in (built_once / "site/audio").glob("*.wav")}
    assert files == set(key.index)
    lengths: dict[str, set[int]] = {}
    for token, row in key.iterrows():
        path = built_once / f"site/audio/{token}.wav"
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256
        size = struct.unpack("<I", data[40:44])[0]
        assert data[12:16] == b"fmt " and data[36:40] == b"data" and size == len(data) - 44, "no metadata"
        x, rate = soundfile.read(path)
        assert rate == 16000 and soundfile.info(path).subtype == "PCM_16" and x.ndim == 1
        assert np.abs(x).max() < 10 ** (-1 / 20)
        assert pyloudnorm.Meter(rate).integrated_loudness(x) == pytest.approx(-23, abs=0.3)
        lengths.setdefault(row["item"], set()).add(len(x))
        secret = bytes.fromhex((built_once / "secret").read_text().strip())
        assert token == bundle.token(secret, row.system, row["item"])
    assert all(len(found) == 1 and 4 * 16000 in found for found in lengths.values())
    # The same clip as the one that was measured: correlated with the evaluated file from some shift on.
    row = key[key.system == "knn"].iloc[0]
    heard, _ = soundfile.read(built_once / f"site/audio/{row.name}.wav")
    measured, _ = soundfile.read(evaluation / "audio" / f"{row['item']}.knn.flac")
    inner = slice(200, len(heard) - 200)
    best = max(np.corrcoef(heard[inner], measured[s:][inner])[0, 1] for s in range(200))
    assert best > 0.999


def test_rebuilding_changes_nothing(built: Path, evaluation: Path, settings: Settings) -> None:
    before = {p: p.read_bytes() for p in built.rglob("*") if p.is_file()}
    bundle.build(evaluation, settings(), 16000, built.parent)
    assert {p: p.read_bytes() for p in built.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("left", ["", "abc", "zz" * 32])
def test_a_damaged_secret_is_no_secret(built: Path, evaluation: Path, settings: Settings, left: str) -> None:
    (built / "secret").write_text(left)
    with pytest.raises(RetimbreError, match="secret is damaged: restore it, or build the study under"):
        bundle.build(evaluation, settings(), 16000, built.parent)


def test_another_secret_gives_other_names_and_the_same_order(
    built: Path, evaluation: Path, settings: Settings, tmp_path: Path
) -> None:
    other = bundle.build(evaluation, settings(), 16000, tmp_path / "elsewhere")
    assert not set(bundle.read_key(built).index) & set(bundle.read_key(other).index)
    a, b = (json.loads((p / "site/study.json").read_text()) for p in (built, other))
    assert a["orders"] == b["orders"] and a["study_hash"] == b["study_hash"]


def test_frozen_means_frozen(built: Path, evaluation: Path, settings: Settings) -> None:
    refusal = "^listening.clip_s differs from .* give listening.study a new name.$"
    with pytest.raises(RetimbreError, match=refusal):
        bundle.build(evaluation, settings(clip_s=4.2), 16000, built.parent)
    Store(built, Plan.load(built)).database.close()
    with pytest.raises(RetimbreError, match="holds answers and is not built again"):
        bundle.build(evaluation, settings(), 16000, built.parent)
    frozen = built / "frozen.json"
    frozen.write_text(frozen.read_text().replace("cyclegan", "cyclegam"))
    with pytest.raises(RetimbreError, match="was changed after it was frozen"):
        bundle.read_frozen(built)


def test_a_missing_file_leaves_no_half_site(evaluation: Path, settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    (folder / "outputs.csv").write_bytes((evaluation / "outputs.csv").read_bytes())
    with pytest.raises(RetimbreError, match="flac does not exist"):
        bundle.build(folder, settings(), 16000, tmp_path / "reports")
    assert not list((tmp_path / "reports").rglob("site*"))


def test_the_protocol_says_everything_that_is_fixed(built_once: Path) -> None:
    text = (built_once / "protocol.md").read_text()
    frozen = bundle.read_frozen(built_once)
    assert study.fingerprint(frozen) in text
    names = (item["name"] for item in frozen["items"])
    for part in (*questions.EXCLUSION, *study.HYPOTHESES, *study.TESTS, *names):
        assert part in text
    for block in frozen["blocks"]:
        assert all(q["text"] in text for q in block["questions"])


def test_vendored_files_are_the_recorded_ones(built_once: Path) -> None:
    here = bundle.HERE / "site"
    listed = json.loads((here / "VENDORED.json").read_text())
    assert {row["file"] for row in listed} == {
        str(p.relative_to(here))
        for p in here.rglob("*")
        if p.name.startswith("jspsych") or p.parent.name == "plugins"
    }
    for row in listed:
        digest = hashlib.sha256((built_once / "site" / row["file"]).read_bytes()).hexdigest()
        assert digest == row["sha256"], row["file"]
        assert row["version"] and row["licence"] == "MIT"
    licences = (built_once / "site/LICENSES.txt").read_text()
    assert "Joshua R. de Leeuw" in licences and "David Bau" in licences


def test_the_page_asks_nobody_else_for_anything(built_once: Path) -> None:
    for name in SERVED_BY_US:
        text = (built_once / "site" / name).read_text()
        assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", text)


def test_webmushra_configuration(built_once: Path) -> None:
    text = (built_once / "webmushra.yaml").read_text()
    values = yaml.safe_load(text)
    pages = [p for entry in values["pages"] for p in (entry[1:] if isinstance(entry, list) else [entry])]
    kinds = {p["type"] for p in pages}
    assert {"mushra", "paired_comparison", "likert_single_stimulus", "finish"} <= kinds
    files = {f for p in pages for f in [*p.get("stimuli", {}).values(), p.get("reference", "")] if f}
    assert files and all((built_once / "site" / f).is_file() for f in files)
    assert len({p["id"] for p in pages if "id" in p}) == len([p for p in pages if "id" in p])
    for page in pages:
        shown = {k: v for k, v in page.items() if k not in ("response", "type", "stimuli")}
        assert words_in(json.dumps(shown)) == []
