"""Writes a study: the frozen plan, the key, and a site that tells nothing about which system made which clip.

::

    reports/listening/<study>/
      protocol.md  frozen.json     what is fixed; frozen.json is what the hash covers, read by the analysis
      key.csv  secret  export_token    outside site/, never served
      site/  index.html  study.json  app.js  style.css  jspsych.js ...  audio/<16 hex>.wav
      webmushra.yaml               the same pages for labs that run webMUSHRA
      responses/                   answers (responses.py)
"""

import csv
import hashlib
import hmac
import io
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, FileSystemLoader

from retimbre.audio.files import read_mono, write_wav
from retimbre.errors import RetimbreError
from retimbre.listening import clips, questions, webmushra
from retimbre.listening.study import ANCHOR, Output, Study, draw, fingerprint, read_outputs
from retimbre.params import Listening
from retimbre.paths import write_atomically
from retimbre.progress import track

HERE = Path(__file__).parent
PLACE = Path("reports/listening")
KEY_COLUMNS = ("token", "system", "item", "direction", "stratum", "role", "sha256", "lufs")
IGNORED = ("/secret", "/export_token", "/key.csv", "/site/audio/", "/responses/")
CONTROLS = ("copy", "oracle", "unrelated", "target", ANCHOR)


@dataclass(frozen=True)
class Key:
    """A row of ``key.csv``: what a token plays."""

    token: str
    system: str
    item: str
    direction: str
    stratum: str
    role: str  # system, baseline, control, source
    sha256: str
    lufs: str


def token(secret: bytes, system: str, item: str) -> str:
    """The opaque name of a clip: HMAC-SHA256 of system and item, 16 hex digits."""
    return hmac.new(secret, f"{system}|{item}".encode(), hashlib.sha256).hexdigest()[:16]


def read_key(folder: Path) -> dict[str, Key]:
    """The key of a built study. Raises RetimbreError when it is not there."""
    try:
        with (folder / "key.csv").open(encoding="utf-8", newline="") as file:
            return {row["token"]: Key(**row) for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise RetimbreError(f"{folder / 'key.csv'} does not exist: build the study with `retimbre listen build`.") from None
    except (TypeError, KeyError):
        raise RetimbreError(f"{folder / 'key.csv'} has other columns than {', '.join(KEY_COLUMNS)}: restore it.") from None


def read_frozen(folder: Path) -> dict[str, Any]:
    """The plan of a built study, checked against its hash. Raises RetimbreError: not there, or changed by hand."""
    path = folder / "frozen.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        plan, kept = stored["study"], stored["hash"]
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: build the study with `retimbre listen build`.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise RetimbreError(f"{path} is not a frozen study: restore it, or build under a new listening.study.") from None
    if fingerprint(plan) != kept:
        raise RetimbreError(f"{path} was changed after it was frozen: restore it, or build under a new listening.study.")
    return plan


def has_responses(folder: Path) -> bool:
    """Whether anybody has started or answered the study."""
    return any(path.stat().st_size > 0 for path in (folder / "responses").glob("*.jsonl"))


def _refuse_changes(folder: Path, study: Study) -> None:
    """Frozen means: the same name stands for the same study."""
    if not (folder / "frozen.json").exists():
        return
    before, now = read_frozen(folder), study.frozen()
    changed = next((k for k in now["params"] if before["params"].get(k) != now["params"][k]), None)
    if changed is not None:
        raise RetimbreError(
            f"listening.{changed} differs from what {folder / 'frozen.json'} froze for the study {study.name}: "
            "give listening.study a new name."
        )
    if has_responses(folder):
        raise RetimbreError(f"{folder} holds answers and is not built again: give listening.study a new name.")
    if fingerprint(before) != study.hash:
        raise RetimbreError(
            f"outputs.csv no longer gives the items that {folder / 'frozen.json'} froze for the study {study.name}: "
            "give listening.study a new name."
        )


def _secret(folder: Path) -> bytes:
    """The study's own secret, made once, readable by its owner only."""
    path = folder / "secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    return bytes.fromhex(path.read_text().strip())


def _wanted(study: Study) -> dict[str, set[str]]:
    """item -> systems whose clips the site needs."""
    wanted: dict[str, set[str]] = {}
    for page in study.pages:
        for slot in page.slots:
            wanted.setdefault(slot.item, set()).add(slot.system)
    for system in ("source", "copy", "unrelated", study.real):
        wanted.setdefault(study.practice, set()).add(system)
    wanted.setdefault(study.practice_other, set()).add("source")
    return wanted


def _write_clips(study: Study, outputs: list[Output], secret: bytes, site: Path, sample_rate: int) -> list[Key]:
    """All clips under their tokens; the rows of the key, sorted by token."""
    by_name = {(o.system, o.item): o for o in outputs}
    settings = study.params
    keys = []
    for name, systems in track(sorted(_wanted(study).items()), "clips", unit="item"):
        needed = sorted((systems | {"source", study.real}) - {ANCHOR})
        heard: dict[str, np.ndarray] = {}
        for system in needed:
            output = by_name.get((system, name))
            if output is None:
                raise RetimbreError(f"outputs.csv has no {system} for {name}: run `dvc repro evaluate` again.")
            heard[system] = read_mono(output.path, sample_rate)
        if ANCHOR in systems:
            heard[ANCHOR] = clips.anchor(heard[study.real], sample_rate, study.params["seed"])
        aligned = ("source", *(s for s in heard if s not in ("source", "unrelated") and not (s == ANCHOR and study.real == "unrelated")))
        levels = settings["clip_s"], settings["loudness_lufs"], settings["peak_dbfs"], settings["fade_ms"]
        ready = clips.prepare(heard, sample_rate, *levels, together=aligned, item=name)
        o = by_name["source", name]
        for system in sorted(systems):
            code = token(secret, system, name)
            path = site / "audio" / f"{code}.wav"
            write_wav(path, ready[system], sample_rate)
            role = "source" if system == "source" else "control" if system in CONTROLS else ""
            role = role or ("baseline" if system in settings["baselines"] else "system")
            lufs = f"{clips.loudness_lufs(ready[system], sample_rate):.2f}"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            keys.append(Key(code, system, name, o.direction, o.stratum, role, digest, lufs))
    keys.sort(key=lambda key: key.token)
    if len({key.token for key in keys}) != len(keys):
        raise RetimbreError(f"two clips of {study.name} have one token: delete its file `secret` and build again.")
    return keys


def _headphone_trials(study: Study, secret: bytes, site: Path) -> list[dict[str, Any]]:
    """The tones of the headphone check; which tone is quiet is drawn by the seed."""
    if not study.params["headphone_check"]:
        return []
    rng = np.random.default_rng(study.params["seed"])
    trials = []
    for n in range(questions.HEADPHONE_TRIALS):
        quiet = int(rng.integers(3))
        antiphase = int((quiet + 1 + rng.integers(2)) % 3)
        code = token(secret, "tones", str(n))
        buffer = io.BytesIO()
        soundfile.write(buffer, clips.headphone_tones(44100, quiet, antiphase), 44100, format="WAV", subtype="PCM_16")
        (site / "audio" / f"{code}.wav").write_bytes(buffer.getvalue())
        trials.append({"token": code, "quietest": str(quiet + 1)})
    return trials


def served(study: Study, secret: bytes, headphones: list[dict[str, Any]]) -> dict[str, Any]:
    """What the browser gets: words, opaque tokens, orders. No system, no item."""
    practice = [
        ("same music, same instrument", "copy", study.practice),
        ("same music, other instrument", study.real if study.real == "target" else "copy", study.practice),
        ("other music, same instrument", "source", study.practice_other),
        ("other music, other instrument", "unrelated", study.practice),
    ]
    if study.real != "target":
        practice.pop(1)
    return {
        "study": study.name,
        "study_hash": study.hash,
        "endpoint": study.params["endpoint"],
        "contact": study.params["contact"],
        "minutes": round(study.minutes),
        "blocks": {block.name: block.served() for block in study.blocks},
        "pages": {
            page.page: {"block": page.block, "clips": [[s.slot, token(secret, s.system, s.item)] for s in page.slots]}
            for page in study.pages
        },
        "orders": [[list(entry) for entry in order] for order in study.orders],
        "level": token(secret, "source", study.practice),
        "practice": [{"label": label, "token": token(secret, system, item)} for label, system, item in practice],
        "about": [q.served() for q in questions.ABOUT],
        "headphones": headphones,
        "headphone_pass": questions.HEADPHONE_PASS,
        "headphone_question": questions.HEADPHONES.served(),
    }


def _write_site(site: Path, values: dict[str, Any]) -> None:
    for path in sorted((HERE / "site").rglob("*")):
        if path.is_file() and path.suffix in (".js", ".css", ".txt"):
            out = site / path.relative_to(HERE / "site")
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out)
    text = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
    (site / "study.json").write_text(text, encoding="utf-8")
    # The page carries the study too, since a page opened from disk may not fetch a file; "<" must not end the script element.
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, keep_trailing_newline=True)
    embedded = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")
    page = environment.get_template("index.html.j2").render(study=embedded)
    (site / "index.html").write_text(page, encoding="utf-8")


def _protocol(study: Study) -> str:
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=False, trim_blocks=True, lstrip_blocks=True)
    counts: dict[str, dict[str, int]] = {}
    pages = {page.page: page for page in study.pages}
    for order in study.orders:
        for name, _ in order:
            found = counts.setdefault(pages[name].block, {})
            found[pages[name].condition] = found.get(pages[name].condition, 0) + 1
    return environment.get_template("protocol.md.j2").render(study=study, plan=study.frozen(), counts=counts, hash=study.hash)


def build(evaluation: Path, params: Listening, sample_rate: int, place: Path = PLACE) -> Path:
    """Freeze the study and write its bundle; returns its folder.

    ``evaluation`` is the folder with ``outputs.csv``. The site appears whole or not at all. Raises RetimbreError: outputs missing,
    params changed under the same name, or answers there already.
    """
    folder = place / params.study
    outputs = read_outputs(evaluation)
    study = draw(outputs, params)
    _refuse_changes(folder, study)
    secret = _secret(folder)
    site = folder / "site.partial"
    shutil.rmtree(site, ignore_errors=True)
    try:
        (site / "audio").mkdir(parents=True)
        keys = _write_clips(study, outputs, secret, site, sample_rate)
        values = served(study, secret, _headphone_trials(study, secret, site))
        _write_site(site, values)
        with write_atomically(folder / "key.csv") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(KEY_COLUMNS)
            writer.writerows([getattr(key, column) for column in KEY_COLUMNS] for key in keys)
        with write_atomically(folder / "protocol.md") as file:
            file.write(_protocol(study))
        with write_atomically(folder / "webmushra.yaml") as file:
            file.write(webmushra.configuration(study, values))
        with write_atomically(folder / ".gitignore") as file:
            file.write("\n".join(IGNORED) + "\n")
        with write_atomically(folder / "frozen.json") as file:
            json.dump({"hash": study.hash, "study": study.frozen()}, file, indent=1, ensure_ascii=False, sort_keys=True)
        shutil.rmtree(folder / "site", ignore_errors=True)
        os.replace(site, folder / "site")
    finally:
        shutil.rmtree(site, ignore_errors=True)
    return folder
