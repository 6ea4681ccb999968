"""Writes a study: the frozen plan, the key, and a site that tells nothing about who made which clip.

::

    reports/listening/<study>/
      protocol.md  frozen.json     what is fixed; frozen.json is what the hash covers, read by the analysis
      key.csv  secret              outside site/, never served
      site/  index.html  study.json  app.js  style.css  jspsych.js ...  audio/<16 hex>.wav
      webmushra.yaml               the same pages for labs that run webMUSHRA
      responses/                   answers (responses.py)
"""

import hashlib
import hmac
import json
import os
import secrets
import shutil
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from retimbre.audio.files import read_mono, write_wav
from retimbre.audio.levels import loudness_lufs
from retimbre.errors import RetimbreError
from retimbre.listening import clips, questions, webmushra
from retimbre.listening.params import Listening
from retimbre.listening.responses import ANSWERS
from retimbre.listening.study import ANCHOR, Page, Study, draw, fingerprint, read_outputs
from retimbre.paths import part_beside, write_atomically
from retimbre.progress import track

HERE = Path(__file__).parent
KEY_COLUMNS = ["token", "system", "item", "direction", "stratum", "sha256", "lufs"]
IGNORED = ("/secret", "/key.csv", "/site/audio/", "/responses/")
TONES_HZ = 44100
SECRET_BYTES = 32


def token(secret: bytes, system: str, item: str) -> str:
    """Opaque name of a clip: HMAC-SHA256 of system and item, 16 hex digits."""
    return hmac.new(secret, f"{system}|{item}".encode(), hashlib.sha256).hexdigest()[:16]


def read_key(folder: Path) -> pandas.DataFrame:
    """Clips by token. Raises RetimbreError when the key is not there."""
    path = folder / "key.csv"
    try:
        return pandas.read_csv(path, dtype=str, keep_default_na=False)[KEY_COLUMNS].set_index("token")
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: build the study with `retimbre listen build`.") from None
    except (KeyError, ValueError):
        raise RetimbreError(f"{path} has other columns than {', '.join(KEY_COLUMNS)}: restore it.") from None


def read_frozen(folder: Path) -> dict[str, Any]:
    """Plan of a built study. Raises RetimbreError: not there, or changed since it was hashed."""
    path = folder / "frozen.json"
    restore = "restore it, or build under a new listening.study"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        plan, kept = stored["study"], stored["hash"]
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: build the study with `retimbre listen build`.") from None
    except (ValueError, KeyError, TypeError):
        raise RetimbreError(f"{path} is not a frozen study: {restore}.") from None
    if fingerprint(plan) != kept:
        raise RetimbreError(f"{path} was changed after it was frozen: {restore}.")
    return plan


def _refuse_changes(folder: Path, study: Study) -> None:
    """Frozen means: the same name stands for the same study."""
    frozen, renew = folder / "frozen.json", "give listening.study a new name"
    if not frozen.exists():
        return
    before, now = read_frozen(folder), study.frozen()
    if changed := [name for name, value in now["params"].items() if before["params"].get(name) != value]:
        raise RetimbreError(
            f"listening.{changed[0]} differs from what {frozen} froze for {study.name}: {renew}."
        )
    if (folder / ANSWERS).exists():
        raise RetimbreError(f"{folder} holds answers and is not built again: {renew}.")
    if before != now:
        raise RetimbreError(f"outputs.csv gives other items than {frozen} froze for {study.name}: {renew}.")


def _secret(folder: Path) -> bytes:
    """The study's own secret, made once, readable by its owner only."""
    path = folder / "secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with part_beside(path) as part:
            part.touch(mode=0o600)
            part.write_text(secrets.token_hex(SECRET_BYTES) + "\n")
    try:
        found = bytes.fromhex(path.read_text().strip())
    except ValueError:
        found = b""
    if len(found) < SECRET_BYTES:
        raise RetimbreError(f"{path} is damaged: restore it, or build the study under another name.")
    return found


def _practice(study: Study) -> list[tuple[str, str, str]]:
    """(label, system, item) of the practice page's clips."""
    if study.of_notes:
        return [
            ("the same recording, dull and noisy", ANCHOR, study.practice),
            ("another recording", "target", study.practice_other),
        ]
    found = [
        ("same music, same instrument", "copy", study.practice),
        ("other music, same instrument", "source", study.practice_other),
        ("other music, other instrument", "unrelated", study.practice),
    ]
    if study.real == "target":
        found.insert(1, ("same music, other instrument", "target", study.practice))
    return found


def _write_clips(study: Study, outputs: pandas.DataFrame, evaluation: Path, site: Path, params: Listening,
                 secret: bytes, sample_rate: int) -> pandas.DataFrame:  # fmt: skip
    """Write all clips under their tokens; returns the key, sorted by token."""
    wanted: dict[str, set[str]] = defaultdict(set)  # item -> systems
    for page in study.pages:
        for slot in page.slots:
            wanted[slot.item].add(slot.system)
    for _, system, item in [*_practice(study), ("", study.original, study.practice)]:
        wanted[item].add(system)
    row_of = {(row.system, row.item): row for row in outputs.itertuples()}
    rows = []
    for item, systems in track(sorted(wanted.items()), "clips", unit="item"):
        heard: dict[str, np.ndarray] = {}
        for system in sorted((systems | {study.original, study.real}) - {ANCHOR}):
            if (system, item) not in row_of:
                raise RetimbreError(
                    f"outputs.csv has no {system} for {item}: run `dvc repro evaluate` again."
                )
            heard[system] = read_mono(evaluation / row_of[system, item].path, sample_rate)
        other_music = {"unrelated"}
        if ANCHOR in systems:
            heard[ANCHOR] = clips.anchor(heard[study.real], sample_rate, params.seed)
            other_music |= {ANCHOR} if study.real == "unrelated" else set()
        aligned = {ANCHOR} & heard.keys() if study.of_notes else heard.keys() - other_music
        together = [study.original, *(aligned - {study.original})]
        ready = clips.prepare(heard, sample_rate, params, together, item)
        about = row_of[study.original, item]
        for system in systems:
            path = site / "audio" / f"{token(secret, system, item)}.wav"
            write_wav(path, ready[system], sample_rate)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lufs = f"{loudness_lufs(ready[system], sample_rate):.2f}"
            rows.append((path.stem, system, item, about.direction, about.stratum, digest, lufs))
    key = pandas.DataFrame(rows, columns=KEY_COLUMNS).sort_values("token")
    if key.token.duplicated().any():
        raise RetimbreError(
            f"two clips of {study.name} have one token: delete its file `secret` and build again."
        )
    return key


def _headphone_trials(study: Study, secret: bytes, site: Path) -> list[dict[str, Any]]:
    """Tones of the headphone check; which tone is quiet is drawn by the seed."""
    if not study.params["headphone_check"]:
        return []
    rng = np.random.default_rng(study.params["seed"])
    trials = []
    for n in range(questions.HEADPHONE_TRIALS):
        quiet, antiphase = (int(tone) for tone in rng.choice(3, 2, replace=False))
        code = token(secret, "tones", str(n))
        tones = clips.headphone_tones(TONES_HZ, quiet, antiphase)
        soundfile.write(site / "audio" / f"{code}.wav", tones, TONES_HZ, subtype="PCM_16")
        trials.append({"token": code, "quietest": str(quiet + 1)})
    return trials


def served(study: Study, secret: bytes, headphones: list[dict[str, Any]]) -> dict[str, Any]:
    """What the browser gets: words, opaque tokens, orders. No system, no item."""
    shown = ("title", "intro", "labels", "questions")

    def clips_of(page: Page) -> list[list[str]]:
        return [[s.slot, token(secret, s.system, s.item)] for s in page.slots]

    return {
        "study": study.name,
        "study_hash": study.hash,
        "contact": study.params["contact"],
        "minutes": round(study.minutes),
        "blocks": {b.name: {name: asdict(b)[name] for name in shown} for b in study.blocks},
        "pages": {page.page: {"block": page.block, "clips": clips_of(page)} for page in study.pages},
        "orders": study.orders,
        "level": token(secret, study.original, study.practice),
        "practice": [{"label": label, "token": token(secret, *clip)} for label, *clip in _practice(study)],
        "about": [asdict(q) for q in questions.ABOUT],
        "headphones": headphones,
        "headphone_pass": questions.HEADPHONE_PASS,
        "headphone_question": asdict(questions.HEADPHONES),
    }


def _protocol(study: Study) -> str:
    """Text of ``protocol.md``."""
    pages = {page.page: page for page in study.pages}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for order in study.orders:
        for name, _ in order:
            counts[pages[name].block][pages[name].condition] += 1
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, **blocks)
    template = environment.get_template("protocol.md.j2")
    return template.render(study=study, plan=study.frozen(), counts=counts, hash=study.hash)


def build(evaluation: Path, params: Listening, sample_rate: int, place: Path) -> Path:
    """Freeze the study and write its bundle; returns its folder.

    ``evaluation`` is the folder with ``outputs.csv``. The site appears whole or not at all. Raises
    RetimbreError: outputs missing, params changed under the same name, or answers there already.
    """
    folder = place / params.study
    outputs = read_outputs(evaluation)
    study = draw(outputs, params)
    _refuse_changes(folder, study)
    secret = _secret(folder)
    site = folder / "site.partial"
    shutil.rmtree(site, ignore_errors=True)
    try:
        shutil.copytree(HERE / "site", site, ignore=shutil.ignore_patterns("*.json"))
        (site / "audio").mkdir()
        key = _write_clips(study, outputs, evaluation, site, params, secret, sample_rate)
        values = served(study, secret, _headphone_trials(study, secret, site))
        (site / "study.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
        frozen = {"hash": study.hash, "study": study.frozen()}
        for name, text in {
            "key.csv": key.to_csv(index=False, lineterminator="\n"),
            "protocol.md": _protocol(study),
            "webmushra.yaml": webmushra.configuration(study, values),
            ".gitignore": "\n".join(IGNORED) + "\n",
            "frozen.json": json.dumps(frozen, indent=1, ensure_ascii=False, sort_keys=True),
        }.items():
            with write_atomically(folder / name) as file:
                file.write(text)
        shutil.rmtree(folder / "site", ignore_errors=True)
        os.replace(site, folder / "site")
    finally:
        shutil.rmtree(site, ignore_errors=True)
    return folder
