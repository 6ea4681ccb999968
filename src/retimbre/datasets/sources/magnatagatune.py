"""MagnaTagATune (Law et al., ISMIR 2009): clips of 29 s with tags; see docs/datasets/magnatagatune.md."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import choose, domain_name, existing_clips, known, members, read_table

PLACE = "https://mirg.city.ac.uk/datasets/magnatagatune"
TABLE = "annotations_final.csv"
PART_BYTES = (1_100_000_000, 1_100_000_000, 772_769_864)
CLIP_S = 29.1
SPLITS = {"train": "0123456789ab", "validation": "c", "test": "def"}  # by the clip's folder
TOP = 50
# Tags that mean the same, as github.com/keunwoochoi/magnatagatune-list groups them, and "female vocal",
# which that list forgets.
SYNONYMS = (
    "beat, beats", "chant, chanting", "choir, choral", "classical, clasical, classic", "drum, drums",
    "electro, electronic, electronica, electric", "fast, fast beat, quick",
    "female, female singer, female singing, female vocals, female vocal, female voice, "
    "woman, woman singing, women",
    "flute, flutes", "guitar, guitars", "hard, hard rock", "harpsichord, harpsicord",
    "heavy, heavy metal, metal", "horn, horns", "india, indian", "jazz, jazzy",
    "male, male singer, male vocal, male vocals, male voice, man, man singing, men", "no beat, no drums",
    "no singer, no singing, no vocal, no vocals, no voice, no voices, instrumental", "opera, operatic",
    "orchestra, orchestral", "quiet, silence", "singer, singing", "space, spacey", "string, strings",
    "synth, synthesizer", "violin, violins", "vocal, vocals, voice, voices", "strange, weird",
)  # fmt: skip
MERGED = {tag: group.split(", ")[0] for group in SYNONYMS for tag in group.split(", ")}
# Three clips of the archive are empty or broken.
BROKEN = {
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_"
    "couperin-88-117.mp3",
}


class MagnaTagATune(Adapter):
    """25,863 clips. A domain is one of the 50 most frequent tags once synonyms are merged.

    A piece is the song of a clip. A clip belongs to a domain when it has its tag and no other domain's.
    The split is the field's, by folder.
    """

    name = "magnatagatune"
    title = "MagnaTagATune"
    homepage = "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset"
    licence = "CC BY-NC-SA (audio: Magnatune)"
    non_commercial = True
    citation = (
        "E. Law, K. West, M. Mandel, M. Bay, J. S. Downie: Evaluation of Algorithms Using Games: The "
        "Case of Music Tagging. ISMIR 2009"
    )

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [RemoteFile(TABLE, f"{PLACE}/{TABLE}")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        chosen = choose(self._listed(root, domains), limit_hours, seed, self.name)
        wanted = members(track.path for track in chosen)
        names = [f"mp3.zip.00{number}" for number in (1, 2, 3)]
        parts = tuple(
            RemoteFile(name, f"{PLACE}/{name}", size) for name, size in zip(names, PART_BYTES, strict=True)
        )
        return [RemoteFile("mp3.zip", "", sum(PART_BYTES), unpack=True, members=wanted, parts=parts)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        return existing_clips(root, self._listed(root, domains), domains, self.name)

    def _listed(self, root: Path, domains: Sequence[str]) -> list[Track]:
        path = Path(root) / TABLE
        rows = read_table(path, ("clip_id", "mp3_path"), delimiter="\t")
        tags = [column for column in (rows[0] if rows else ()) if column not in ("clip_id", "mp3_path")]
        tags_of = {
            row["mp3_path"]: {domain_name(MERGED.get(tag, tag)) for tag in tags if row[tag] == "1"}
            for row in rows
        }
        counts = Counter(tag for clip in tags_of.values() for tag in clip)
        top = sorted(counts, key=lambda tag: (-counts[tag], tag))[:TOP]
        known(domains, top, self.name)
        split_of = {folder: split for split, folders in SPLITS.items() for folder in folders}
        tracks = []
        for clip, names in tags_of.items():
            own = [domain for domain in domains if domain in names]
            if len(own) == 1 and clip not in BROKEN:
                # without the seconds that the clip is cut from
                song = re.sub(r"-\d+-\d+\.mp3$", "", clip.split("/")[-1])
                piece = f"magnatagatune-{song}"
                tracks.append(Track(clip, own[0], piece, split_of[clip[0]], duration_s=CLIP_S))
        return tracks
