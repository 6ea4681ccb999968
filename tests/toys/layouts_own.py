"""The sets that mirdata does not know, in their true layout: see layouts.py."""

import csv
import io
import itertools
import json
from pathlib import Path

from tests.toys.layouts import SECONDS, TEST, TRAIN, VALIDATION, Layout, clip, table, write_tar, write_zip


def maestro(folder: Path, version: str = "v3.0.0") -> Layout:
    layout = Layout(("piano",))
    members = {f"maestro-{version}/LICENSE": b"CC BY-NC-SA 4.0", f"maestro-{version}/README": b"MAESTRO"}
    rows = []
    for split, count in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        for number in range(count):
            name = f"2018/MIDI-Unprocessed_Chamber{number}_MID--AUDIO_10_R3_2018_wav--{split}"
            title = f"Étude No. {number // 2} of {split}"
            seconds = 2 * SECONDS
            rows.append(
                {
                    "canonical_composer": "Frédéric Chopin", "canonical_title": title, "split": split,
                    "year": 2018,
                    "midi_filename": f"{name}.midi", "audio_filename": f"{name}.wav", "duration": seconds,
                }
            )  # fmt: skip
            path = f"maestro-{version}/{name}.wav"
            members[path] = clip(44100, 2, seconds=seconds)
            members[f"maestro-{version}/{name}.midi"] = (
                b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk\x00\x00\x00\x04\x00\xff/\x00"
            )
            layout.rows[path] = ("piano", f"Frédéric Chopin: {title}", split)
            layout.midi[path] = f"maestro-{version}/{name}.midi"
    columns = {name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]}
    listed = json.dumps(columns if version == "v3.0.0" else rows)
    members[f"maestro-{version}/maestro-{version}.json"] = listed.encode()
    (folder / f"maestro-{version}.json").write_text(listed, encoding="utf-8")
    write_zip(folder / f"maestro-{version}.zip", members)
    return layout


def maestro_v2(folder: Path) -> Layout:
    return maestro(folder, "v2.0.0")


def musicnet(folder: Path) -> Layout:
    layout = Layout(("bach_solo_cello", "cambini_wind_quintet"))
    ensembles = {
        "bach_solo_cello": ("Bach", "Solo Cello"),
        "cambini_wind_quintet": ("Cambini", "Wind Quintet"),
        "": ("Mozart", "Solo Piano"),
    }
    members, rows = {}, []
    number = itertools.count(2186)
    for domain, (composer, ensemble) in ensembles.items():
        for movement in range(TRAIN + VALIDATION + TEST if domain else 2):
            key, place = next(number), "test_data" if movement == 3 else "train_data"
            title = f"Suite No {movement // 6 + 1}"
            rows.append(
                {
                    "id": key, "composer": composer, "composition": title,
                    "movement": f"{movement}. Prelude", "ensemble": ensemble,
                    "source": "European Archive", "transcriber": "", "catalog_name": "BWV1007", "seconds": 1,
                }
            )  # fmt: skip
            path = f"musicnet/{place}/{key}.wav"
            members[path] = clip(44100, subtype="FLOAT")
            members[f"musicnet/{place.replace('data', 'labels')}/{key}.csv"] = (
                b"start_time,end_time,instrument,note\n"
            )
            if domain:
                layout.rows[path] = (domain, f"{composer}: {title}, {movement}. Prelude ({ensemble})", "")
            else:
                layout.left_out.add(path)
    write_tar(folder / "musicnet.tar.gz", members)
    (folder / "musicnet_metadata.csv").write_bytes(table(rows))
    return layout


def nsynth(folder: Path, gansynth: bool = False) -> Layout:
    layout = Layout(("flute", "guitar"))
    splits = []
    instruments = {"train": 0, "valid": 1, "test": 1}  # those of the validation and test parts are the same
    for part, count in (("train", TRAIN), ("valid", VALIDATION), ("test", TEST)):
        members, notes = {}, {}
        for family, source, pitches in (
            ("flute", "acoustic", range(60, 60 + count)), ("flute", "acoustic", (100,)),
            ("guitar", "acoustic", range(50, 50 + count)),
            ("guitar", "electronic", (52,)), ("synth_lead", "synthetic", (60,)),
        ):  # fmt: skip
            for pitch in pitches:
                instrument = f"{family}_{source}_{instruments[part]:03d}"
                velocity = {"train": 75, "valid": 100, "test": 127}[part]
                name = f"{instrument}-{pitch:03d}-{velocity:03d}"
                notes[name] = {
                    "note": len(notes), "note_str": name, "instrument_str": instrument,
                    "instrument": instruments[part], "pitch": pitch,
                    "velocity": velocity, "sample_rate": 16000, "qualities": [0] * 10, "qualities_str": [],
                    "instrument_family": 2,
                    "instrument_family_str": family, "instrument_source": 0, "instrument_source_str": source,
                }  # fmt: skip
                path = f"nsynth-{part}/audio/{name}.wav"
                members[path] = clip(16000)
                layout.histogram[family] = layout.histogram.get(family, 0) + 1
                inside = source == "acoustic" and pitch <= 84
                if inside:
                    # another split than NSynth's
                    splits.append({"id": name, "split": {"valid": "test", "test": "valid"}.get(part, part)})
                split = splits[-1]["split"] if gansynth and inside else part
                if family in layout.domains and (inside or not gansynth):
                    layout.rows[path] = (family, f"nsynth-{name}", {"valid": "validation"}.get(split, split))
                else:
                    layout.left_out.add(path)
        members[f"nsynth-{part}/examples.json"] = json.dumps(notes).encode()
        write_tar(folder / f"nsynth-{part}.jsonwav.tar.gz", members)
    if gansynth:
        (folder / "nsynth-gansynth_splits.csv").write_bytes(table(splits))
    return layout


def speech_commands(folder: Path) -> Layout:
    layout = Layout(("one", "zero"))
    members = {"./LICENSE": b"CC BY 4.0", "./_background_noise_/white_noise.wav": clip(16000)}
    lists: dict[str, list[str]] = {"validation": [], "test": []}
    for word in ("one", "yes", "zero"):
        for split, count in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
            for number in range(count):
                path = f"{word}/{split[:2].encode().hex()}{number:04x}_nohash_0.wav"
                members[f"./{path}"] = clip(16000, seconds=1.6)
                if split in lists:
                    lists[split].append(path)
                if word in layout.domains:
                    layout.rows[path] = (word, f"speech_commands-{word}-{Path(path).stem}", split)
                else:
                    layout.left_out.add(path)
    for split, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        members[f"./{name}"] = "".join(f"{path}\n" for path in lists[split]).encode()
    write_tar(folder / "speech_commands_v0.01.tar.gz", members)
    return layout


def nsynth_gansynth(folder: Path) -> Layout:
    return nsynth(folder, gansynth=True)


def fma(folder: Path, size: str = "small") -> Layout:
    layout = Layout(("hip_hop", "rock"))
    header = [
        ["", "album", "artist", "artist", "set", "set", "track", "track"],
        ["", "comments", "id", "name", "split", "subset", "genre_top", "title"],
        ["track_id"] + [""] * 7,
    ]
    members, rows = {f"fma_{size}/README.txt": b"FMA", f"fma_{size}/checksums": b""}, []
    number = itertools.count(140)

    def add(genre: str, split: str, artist: int, subset: str, inside: bool, key: int | None = None) -> None:
        key = next(number) if key is None else key
        rows.append([key, 0, artist, "A, name", split, subset, genre, 'A "title"\nof two lines'])
        path = f"fma_{size}/{key // 1000:03d}/{key:06d}.mp3"
        if subset in {"small": ("small",), "medium": ("small", "medium")}[size]:
            members[path] = clip(44100, 2, "MP3", "MPEG_LAYER_III")
        if inside:
            domain, part = genre.lower().replace("-", "_"), {"training": "train"}.get(split, split)
            layout.rows[path] = (domain, f"fma-artist-{artist}", part)
        else:
            layout.left_out.add(path)

    for genre in ("Hip-Hop", "Rock"):
        for split, count in (("training", TRAIN), ("validation", VALIDATION), ("test", TEST)):
            for _ in range(count):
                add(genre, split, 1000 + len(rows), "small", inside=True)
    add("Rock", "training", 5, "small", inside=True)
    add("Rock", "training", 5, "small", inside=True)
    add("Rock", "test", 5, "small", inside=False)  # the same artist in another split
    add("Hip-Hop", "training", 6, "small", inside=False, key=98565)  # half a second
    add("Rock", "training", 7, "medium", inside=size == "medium")
    add("Rock", "training", 8, "large", inside=False)
    add("Folk", "training", 9, "small", inside=False)
    out = io.StringIO()
    csv.writer(out).writerows(header + rows)
    tables = {"fma_metadata/tracks.csv": out.getvalue().encode(), "fma_metadata/genres.csv": b"genre_id\n"}
    write_zip(folder / "fma_metadata.zip", tables)
    write_zip(folder / f"fma_{size}.zip", members)
    return layout


def fma_medium(folder: Path) -> Layout:
    return fma(folder, "medium")


def vctk(folder: Path, microphone: str = "mic1") -> Layout:
    layout = Layout(("p225", "p226"))
    members = {"speaker-info.txt": b"ID  AGE  GENDER\n", "license_text": b"CC BY 4.0"}
    for speaker in ("p225", "p226", "p227"):
        for number in [*range(1, 6), *range(25, 25 + TRAIN)]:
            for place in ("mic1", "mic2"):
                path = f"wav48_silence_trimmed/{speaker}/{speaker}_{number:03d}_{place}.flac"
                members[path] = clip(48000, file_format="FLAC")
                if place == microphone and speaker != "p227":
                    text = "sentence" if number <= 24 else speaker
                    layout.rows[path] = (speaker, f"vctk-{text}-{number:03d}", "")
                else:
                    layout.left_out.add(path)
            members[f"txt/{speaker}/{speaker}_{number:03d}.txt"] = b"Please call Stella.\n"
    write_zip(folder / "VCTK-Corpus-0.92.zip", members)
    return layout


def vctk_mic2(folder: Path) -> Layout:
    return vctk(folder, "mic2")


def urmp(folder: Path) -> Layout:
    layout = Layout(("violin", "cello"))
    pieces = """01_Jupiter_vn_vc 11_Maria_ob_vc 12_Spring_vn_vn_vc 08_Spring_fl_vn 13_Hark_vn_vn_va
    19_Pavane_cl_vn_vc
        24_Pirates_vn_vn_va_vc
        26_King_vn_vn_va_vc 32_Fugue_vn_vn_va_vc 36_Rondeau_vn_vn_va_vc 35_Rondeau_vn_vn_va_db
        38_Jerusalem_vn_vn_va_vc_db""".split()
    members = {"Dataset/Supplementary_Files/README.txt": b"URMP"}
    for piece in pieces:
        number, title, *instruments = piece.split("_")
        members[f"Dataset/{piece}/AuMix_{piece}.wav"] = clip(48000, subtype="PCM_24")
        members[f"Dataset/{piece}/Sco_{piece}.mid"] = b"MThd"
        for part, instrument in enumerate(instruments, start=1):
            path = f"Dataset/{piece}/AuSep_{part}_{instrument}_{number}_{title}.wav"
            members[path] = clip(48000, subtype="PCM_24", seconds=2.5)
            members[f"Dataset/{piece}/Notes_{part}_{instrument}_{number}_{title}.txt"] = b"0.1 440.0 0.5\n"
            domain = {"vn": "violin", "vc": "cello"}.get(instrument)
            if domain:
                layout.rows[path] = (domain, f"urmp-{title}", "")
            else:
                layout.left_out.add(path)
    write_tar(folder / "Dataset.tar.gz", members)
    return layout


TAGS = """no voice, singer, duet, plucking, hard rock, world, bongos, harpsichord, female singing, clasical,
sitar, chorus, female opera, male vocal, vocals, clarinet, heavy, silence, beats, men, woodwind, funky, no
strings, chimes, foreign, no piano, horns, classical, female, no voices, soft rock, eerie, spacey, jazz,
guitar, quiet, no beat, banjo, electric, solo, violins, folk, female voice, wind, happy, ambient, new age,
synth, funk, no singing, middle eastern, trumpet, percussion, drum, airy, voice, repetitive, birds, space,
strings, bass, harpsicord, medieval, male voice, girl, keyboard, acoustic, loud, classic, string, drums,
electronic, not classical, chanting, no violin, not rock, no guitar, organ, no vocal, talking, choral, weird,
opera, soprano, fast, acoustic guitar, electric guitar, male singer, man singing, classical guitar, country,
violin, electro, reggae, tribal, dark, male opera, no vocals, irish, electronica, horn, operatic, arabic, lol,
low, instrumental, trance, chant, strange, drone, synthesizer, heavy metal, modern, disco, bells, man, deep,
fast beat, industrial, hard, harp, no flute, jungle, pop, lute, female vocal, oboe, mellow, orchestral, viola,
light, echo, piano, celtic, male vocals, orchestra, eastern, old, flutes, punk, spanish, sad, sax, slow, male,
blues, vocal, indian, no singer, scary, india, woman, woman singing, rock, dance, piano solo, guitars, no
drums, jazzy, singing, cello, calm, female vocals, voices, different, techno, clapping, house, monks, flute,
not opera, not english, oriental, beat, upbeat, soft, noise, choir, female singer, rap, metal, hip hop, quick,
water, baroque, women, fiddle, english"""


def magnatagatune(folder: Path) -> Layout:
    layout = Layout(("guitar", "piano"))
    tags = TAGS.replace("\n", " ").split(", ")
    members, rows = {}, []

    def add(directory: str, title: str, names: tuple[str, ...], domain: str, broken: str = "") -> None:
        path = broken or f"{directory}/{title}.mp3"
        members[path] = b"" if broken else clip(16000, 1, "MP3", "MPEG_LAYER_III")
        rows.append(
            {"clip_id": len(rows) + 1} | {tag: int(tag in names) for tag in tags} | {"mp3_path": path}
        )
        if domain:
            split = "train" if directory in "0123456789ab" else "validation" if directory == "c" else "test"
            layout.rows[path] = (domain, f"magnatagatune-{title.rsplit('-', 2)[0]}", split)
        else:
            layout.left_out.add(path)

    for domain in layout.domains:
        for number in range(TRAIN):
            tag = "guitars" if domain == "guitar" else domain
            names = (domain, "slow") if number % 2 else (tag, "not rock")
            title = f"artist-{domain}_album-{number // 2:02d}-song-{29 * number}-{29 * number + 29}"
            add("0123456789ab"[number], title, names, domain)
        for number in range(VALIDATION):
            add("c", f"artist-{domain}_album-{50 + number}-song-0-29", (domain,), domain)
        for number in range(TEST):
            add("def"[number], f"artist-{domain}_album-{60 + number}-song-0-29", (domain,), domain)
    add("3", "artist-both-01-song-0-29", ("guitar", "piano"), "")  # two domains at once
    add("4", "artist-none-01-song-0-29", ("harp",), "")
    add("6", "", ("piano",), "", broken="6/norine_braun-now_and_zen-08-gently-117-146.mp3")
    write_zip(folder / "mp3.zip", members)
    data = (folder / "mp3.zip").read_bytes()
    (folder / "mp3.zip").unlink()
    third = len(data) // 3
    for number, part in enumerate((data[:third], data[third : 2 * third], data[2 * third :]), start=1):
        (folder / f"mp3.zip.00{number}").write_bytes(part)
    (folder / "annotations_final.csv").write_bytes(table(rows, delimiter="\t", quoting=csv.QUOTE_ALL))
    return layout
