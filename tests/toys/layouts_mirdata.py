"""The sets that mirdata knows, in their true layout, with mirdata's index: see layouts.py."""

import hashlib
import itertools
import json
from pathlib import Path

from tests.toys.layouts import TEST, TRAIN, VALIDATION, Layout, clip, table, write_tar, write_zip


def _index(folder: Path, name: str, tracks: dict[str, dict[str, str]], members: dict[str, bytes]) -> None:
    """mirdata's index: track -> kind -> (path, MD5)."""
    listed = {
        track: {kind: [path, hashlib.md5(members.get(path, b"")).hexdigest()] for kind, path in kinds.items()}
        for track, kinds in tracks.items()
    }
    (folder / name).write_text(
        json.dumps({"version": name.rsplit("_", 1)[1].removesuffix(".json"), "tracks": listed}),
        encoding="utf-8",
    )


def irmas(folder: Path, testing: bool = False) -> Layout:
    layout = Layout(("cello", "clarinet"))
    genres = "cla cla cla cla cla pop_roc cla cla jaz_blu pop_roc".split()  # of the first cello songs
    songs = [("cel", f"[cel][{genre}]{number:04d}") for number, genre in enumerate(genres, start=1)]
    prefixes = {232: 144, 233: 40, 234: 145, 235: 163, 236: 88, 237: 21, 238: 83, 240: 30, 241: 140, 242: 4}
    songs += [("cla", f"{prefix:03d}__[cla][nod][cla]{number:04d}") for number, prefix in prefixes.items()]
    training, tracks = {}, {}
    for code, stem in songs:
        for excerpt in (1, 2, 3):
            path = f"IRMAS-TrainingData/{code}/{stem}__{excerpt}.wav"
            training[path] = clip(44100, 2)
            tracks[f"{stem[-4:]}__{excerpt}"] = {"audio": path, "annotation": path}
            domain = {"cel": "cello", "cla": "clarinet"}[code]
            layout.rows[path] = (domain, f"irmas-{stem[-4:]}", "train" if testing else "")
    training["IRMAS-TrainingData/README.txt"] = b"IRMAS"
    second = "IRMAS-TestingData-Part2/IRTestingData-Part2"
    parts = {
        "IRMAS-TestingData-Part1.zip": {
            "IRMAS-TestingData-Part1/Part1/02 - And The Body Will Die-8": "cel\t\n"
        },
        "IRMAS-TestingData-Part2.zip": {
            f"{second}/satie - 1ere gymnopedie. lent et douloureux-4": "cla\t\n",
            f"{second}/Debussy, Sonata for Cello & Piano - 1 Prologue-8": "cel\t\npia\t\n",
        },
        "IRMAS-TestingData-Part3.zip": {
            "IRMAS-TestingData-Part3/Part3/Été-2": "cel\t\n",
            "IRMAS-TestingData-Part3/Part3/Piano-1": "pia",
        },
    }
    number = itertools.count(1)
    archives = {}
    for archive, excerpts in parts.items():
        archives[archive] = {}
        for path, labels in excerpts.items():
            archives[archive] |= {f"{path}.wav": clip(44100, 2), f"{path}.txt": labels.encode()}
            tracks[str(next(number))] = {"audio": f"{path}.wav", "annotation": f"{path}.txt"}
            domain = {"cel": "cello", "cla": "clarinet"}.get(labels.strip())
            if testing and domain:
                layout.rows[f"{path}.wav"] = (
                    domain,
                    f"irmas-testing-{Path(path).name.rsplit('-', 1)[0]}",
                    "test",
                )
            else:
                layout.left_out.add(f"{path}.wav")
    write_zip(folder / "IRMAS-TrainingData.zip", training)
    for archive, members in archives.items() if testing else ():
        write_zip(folder / archive, members)
    _index(folder, "irmas_index_1.0.json", tracks, training)
    return layout


def irmas_testing(folder: Path) -> Layout:
    return irmas(folder, testing=True)


def guitarset(folder: Path, recording: str = "mic") -> Layout:
    layout = Layout(("guitar_solo", "guitar_comp"))
    name = {"mic": "audio_mono-mic", "mix": "audio_mono-pickup_mix"}[recording]
    members, tracks = {}, {}
    for player in range(6):
        for piece in ("BN1-129-Eb", "Funk1-114-Ab", "BN3-119-G"):
            for mode in ("solo", "comp"):
                track = f"{player:02d}_{piece}_{mode}"
                members[f"{track}_{recording}.wav"] = clip(44100)
                tracks[track] = {
                    "audio_hex_cln": f"audio_hex-pickup_debleeded/{track}_hex_cln.wav",
                    "audio_hex": f"audio_hex-pickup_original/{track}_hex.wav",
                    "audio_mic": f"audio_mono-mic/{track}_mic.wav",
                    "audio_mix": f"audio_mono-pickup_mix/{track}_mix.wav",
                    "jams": f"annotation/{track}.jams",
                }
                layout.rows[f"{name}/{track}_{recording}.wav"] = (
                    f"guitar_{mode}",
                    f"guitarset-player-{player:02d}",
                    "",
                )
    write_zip(folder / f"{name}.zip", members)
    _index(folder, "guitarset_index_1.1.0.json", tracks, {})
    return layout


def guitarset_mix(folder: Path) -> Layout:
    return guitarset(folder, "mix")


def medley_solos_db(folder: Path) -> Layout:
    layout = Layout(("flute", "distorted_electric_guitar"))
    members, tracks, rows = {}, {}, []
    for label, number, domain in (
        ("flute", 3, "flute"),
        ("distorted electric guitar", 1, "distorted_electric_guitar"),
        ("piano", 4, ""),
    ):
        song = itertools.count(100 * number)
        for subset, count in (("training", TRAIN), ("validation", VALIDATION), ("test", TEST)):
            for _ in range(count):
                uuid = hashlib.md5(f"{number} {len(rows)}".encode()).hexdigest()
                uuid = f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"
                name, piece = f"Medley-solos-DB_{subset}-{number}_{uuid}.wav", next(song)
                members[name] = clip(44100)
                tracks[uuid] = {"audio": f"audio/{name}"}
                rows.append(
                    {
                        "subset": subset,
                        "instrument": label,
                        "instrument_id": number,
                        "song_id": piece,
                        "uuid4": uuid,
                    }
                )
                split = {"training": "train"}.get(subset, subset)
                if domain:
                    layout.rows[f"audio/{name}"] = (domain, f"medley-solos-db-{piece}", split)
                else:
                    layout.left_out.add(f"audio/{name}")
    write_tar(folder / "Medley-solos-DB.tar.gz", members)
    (folder / "Medley-solos-DB_metadata.csv").write_bytes(table(rows))
    _index(folder, "medley_solos_db_index_1.2.json", tracks, {})
    return layout


def good_sounds(folder: Path) -> Layout:
    """A flute in four sessions, and an oboe in one, whose sounds are pieces of their own."""
    layout = Layout(("flute", "oboe"))
    sessions = {
        "flute_almudena_reference": ("flute", "almudena", ("akg", "neumann")),
        "flute_almudena_air": ("flute", "almudena", ("akg",)),
        "flute_josep_improvement_recordings": ("flute", "josep", ("iphone",)),
        "flute_scale_irene_recordings": ("flute", "irene", ("neumann",)),
        "oboe_marta_recordings": ("oboe", "marta", ("neumann", "iphone")),
        "bass_alejandro_recordings": ("bass", "alejandro", ("neumann",)),
    }  # fmt: skip
    packs, sounds, takes, members, tracks = {}, {}, {}, {}, {}
    for number, (pack, (instrument, player, microphones)) in enumerate(sessions.items(), start=1):
        packs[str(number)] = {"id": number, "name": pack, "description": ""}
        for note in range(2 if instrument == "bass" else 8 if instrument == "oboe" else 4):
            sound = str(len(sounds) + 1)
            sounds[sound] = {
                "id": int(sound), "instrument": instrument, "note": "C", "octave": 4, "dynamics": "mf",
                "player": player, "pack_id": number,
                "klass": "good-sound", "semitone": 48 + note, "pitch_reference": 442,
            }  # fmt: skip
            for microphone in microphones:
                take, name = str(len(takes) + 1), f"sound_files/{pack}/{microphone}/{note:04d}.wav"
                takes[take] = {
                    "id": int(take),
                    "microphone": microphone,
                    "filename": name,
                    "sound_id": int(sound),
                }
                members[f"good-sounds/{name}"] = clip(48000, subtype="FLOAT", seconds=2.0)
                tracks[take] = {"audio": f"good-sounds/{name}"}
                if instrument != "bass":
                    piece = f"good-sounds-{pack}" + (f"-{sound}" if instrument == "oboe" else "")
                    layout.rows[f"good-sounds/{name}"] = (instrument, piece, "")
                else:
                    layout.left_out.add(f"good-sounds/{name}")
    write_zip(folder / "good-sounds.zip", members)
    for name, content in (("packs", packs), ("ratings", {}), ("sounds", sounds), ("takes", takes)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    _index(folder, "good_sounds_index_1.0.json", tracks, {})
    return layout


def tinysol(folder: Path) -> Layout:
    layout = Layout(("alto_saxophone", "bassoon"))
    sax = [
        f"ASax-ord-{pitch}-ff-N-N"
        for pitch in "E4 F4 F#4 G4 G#4 A4 A#4 B4 C5 C#5 D5 D#5 E5 F5 F#5 G5 G#5 A5".split()
    ]
    bassoon = [
        f"Bn-ord-{pitch}-pp-N-N"
        for pitch in "A#1 C#2 D2 D#2 E2 G2 A2 A#2 B2 C#3 D#3 G3 A#3 B3 C4 C#4 D4 D#4".split()
    ]
    bassoon.append("Bn-ord-C2-pp-N-T11d_R100u")
    members, tracks, rows = {}, {}, []
    for names, place, family, short, full in (
        (sax, "Winds/Sax_Alto", "Winds", "ASax", "Alto Saxophone"),
        (bassoon, "Winds/Bassoon", "Winds", "Bn", "Bassoon"),
    ):
        for number, name in enumerate(names):
            path = f"{place}/ordinario/{name}.wav"
            members[path] = clip(44100)
            tracks[name] = {"audio": f"audio/{path}"}
            resampled = name.endswith("R100u")
            rows.append(
                {
                    "Path": path, "Fold": number % 5, "Family": family, "Instrument (abbr.)": short,
                    "Instrument (in full)": full,
                    "Technique (abbr.)": "ord", "Technique (in full)": "ordinario",
                    "Pitch": name.split("-")[2], "Pitch ID": 60,
                    "Dynamics": name.split("-")[3], "Dynamics ID": 4, "Instance ID": 0,
                    "String ID (if applicable)": "",
                    "Needed digital retuning": "TRUE" if resampled else "FALSE",
                }
            )  # fmt: skip
            if resampled:
                layout.left_out.add(f"audio/{path}")
            else:
                split = {3: "validation", 4: "test"}.get(number % 5, "train")
                layout.rows[f"audio/{path}"] = (full.lower().replace(" ", "_"), f"tinysol-{name}", split)
    write_tar(folder / "TinySOL.tar.gz", members)
    (folder / "TinySOL_metadata.csv").write_bytes(table(rows))
    _index(folder, "tinysol_index_6.0.json", tracks, {})
    return layout
