"""The metrics of the table, an entry each: how it is shown, which way is better, what it means, its source.

The headline table, the report's legend, ``retimbre compare`` and docs/metrics.md are made of these entries.
To add a metric, write its function, let :mod:`retimbre.evaluation.bench.scoring` call it, and add its entry
here; ``python -m retimbre.metrics.catalogue`` then brings docs/metrics.md up to date.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

Direction = Literal["up", "down", "none"]
SIGNS: dict[Direction, str] = {"up": "+", "down": "-", "none": "="}
BOUNDS = ("_low", "_high")  # names of an interval's ends, after that of the metric
DOCS, BEGIN, END = Path("docs/metrics.md"), "<!-- the catalogue begins -->\n", "<!-- the catalogue ends -->\n"


class Metric(NamedTuple):
    """A column of the table.

    ``name``: as in the table; ``family``: key of :data:`FAMILIES`; ``better``: the direction; ``interval``:
    True where the table holds the ends of a 95 % interval of it, too.
    """

    name: str
    family: str
    unit: str
    better: Direction
    label: str
    meaning: str
    source: str = ""
    interval: bool = False

    @property
    def title(self) -> str:
        """Label and unit."""
        return self.label if self.unit in ("", "share") else f"{self.label} {self.unit}"

    @property
    def names(self) -> list[str]:
        """All names of it in the table."""
        return [self.name, *(self.name + bound for bound in BOUNDS if self.interval)]


FAMILIES = {
    "paired": "Against the true target",
    "content": "Content kept",
    "style": "Timbre reached",
    "quality": "Signal quality",
    "fail": "Failures",
    "other": "Inside the models",
}
# fmt: off
CATALOGUE: dict[str, Metric] = {m.name: m for m in (
    Metric("paired_lsd", "paired", "dB", "down", "paired LSD",
           "Log-spectral distance to the true target's audio: 128 mel bands, 80 dB, mean over bands of the "
           "RMS over time.", "Cífka et al. 2021 (ss-vq-vae)"),
    Metric("paired_timbre", "paired", "", "down", "MFCC distance",
           "1 - cosine of mean MFCC 1 to 12 to the true target: average colour. An equaliser is hard to beat "
           "here.", "Cífka et al. 2021, without their network"),
    Metric("feature_lsd", "paired", "dB", "down", "feature LSD",
           "Log-spectral distance to the true target in the spectra that systems change (of audio where a "
           "system makes none), both cut to the top 60 dB.", "Gray & Markel 1976"),
    Metric("skill", "paired", "", "up", "skill",
           "Feature LSD on a scale: 0 is the source unchanged, 1 a second performance on the true "
           "instrument."),
    Metric("skill_shifted", "paired", "", "up", "skill, shifted",
           "The same of feature LSD after the best shift: no unpaired system can know how soon the target "
           "speaks after its key."),
    Metric("feature_lsd_shifted", "paired", "dB", "down", "feature LSD, shifted",
           "Feature LSD after the best shift within 2 frames (32 ms at 16 kHz), of each item its own."),
    Metric("paired_lsd_shifted", "paired", "dB", "down", "paired LSD, shifted",
           "Paired LSD of the audio after the same shift.", "Cífka et al. 2021 (ss-vq-vae)"),
    Metric("paired_mrstft_shifted", "paired", "", "down", "MR-STFT, shifted",
           "MR-STFT of the audio after the same shift.", "Yamamoto et al. 2020 (auraloss)"),
    Metric("paired_lsd_frame", "paired", "dB", "down", "LSD by frame",
           "The usual log-spectral distance: root mean square over bands, mean over frames.",
           "Gray & Markel 1976"),
    Metric("paired_mrstft", "paired", "", "down", "MR-STFT",
           "Multi-resolution STFT distance to the true target (FFT 512, 1024, 2048); rows of vocoders show "
           "their floor.", "Yamamoto et al. 2020 (auraloss)"),
    Metric("paired_mel_l1_db", "paired", "dB", "down", "mel L1",
           "Mean difference of log-mel spectra to the true target's, 80 bands, 60 dB under its peak."),
    Metric("content_note_f1", "content", "", "up", "note F1",
           "F1 of the source's note onsets (50 ms, 50 cents) by basic-pitch; the oracle's 0.8 is the "
           "tracker's ceiling.", "Bittner et al. 2022, MIREX"),
    Metric("content_jaccard", "content", "", "down", "pitch Jaccard",
           "Jaccard distance of the pitches that sound to the source's, over frames with any.",
           "Cífka et al. 2021"),
    Metric("energy_lost", "content", "share", "down", "notes too weak",
           "Notes of the score more than 6 dB weaker than in the true target: their unmasked first partials "
           "over the first 200 ms, at one loudness, after the best shift. No transcriber."),
    Metric("energy_error_db", "content", "dB", "none", "note energy",
           "Mean over the same notes of their energy minus the true target's, each at most 30 dB off; the "
           "oracle's 0 is right."),
    Metric("energy_ghosts", "content", "share", "down", "octave ghosts",
           "Empty octaves above and below the same notes whose fundamental is more than 6 dB stronger than "
           "in the true target, and less than 20 dB under the true target's note."),
    Metric("energy_ghosts_real", "content", "share", "none", "octave ghosts of real",
           "The same of second performances on the true instrument, of the same items."),
    Metric("score_f1", "content", "", "up", "score F1",
           "F1 of the score's note onsets (50 ms, 50 cents) by basic-pitch, the direction's median lag taken "
           "out.", "Bittner et al. 2022, MIREX"),
    Metric("score_precision", "content", "share", "up", "score precision",
           "Heard notes that are in the score, likewise.", "Bittner et al. 2022, MIREX"),
    Metric("score_recall", "content", "share", "up", "score recall",
           "Notes of the score that are heard, likewise.", "Bittner et al. 2022, MIREX"),
    Metric("score_f1_of_true", "content", "", "up", "score F1 of true",
           "Score F1 divided by the true target's."),
    Metric("score_precision_of_true", "content", "", "up", "score precision of true",
           "Score precision divided by the true target's."),
    Metric("score_recall_of_true", "content", "", "up", "score recall of true",
           "Score recall divided by the true target's."),
    Metric("score_f1_real", "content", "", "none", "score F1 of real",
           "The true target's score F1: the tracker's ceiling."),
    Metric("score_lag_ms", "content", "ms", "none", "lag",
           "Median lag of the heard notes behind the score's, which is taken out."),
    Metric("content_mpe_acc", "content", "", "up", "multi-pitch",
           "Frame accuracy TP / (TP + FP + FN) of all sounding pitches against the source.",
           "Poliner & Ellis 2007"),
    Metric("content_mpe_chroma_acc", "content", "", "up", "multi-pitch, octaves forgiven",
           "The same for pitch classes: the gap is octave errors.", "Poliner & Ellis 2007"),
    Metric("content_active_share", "content", "share", "none", "active frames",
           "Frames in which the output or the source has a pitch, which pitch Jaccard is the mean over."),
    Metric("content_dpd", "content", "semitones", "down", "pitch DTW",
           "Circular distance of the strongest pitch class along the best alignment; forgives rhythm.",
           "latent diffusion bridges 2025, made circular"),
    Metric("content_f0_l1", "content", "semitones", "down", "f0 error",
           "Mean pitch error on confidently pitched frames of single lines, outliers left out (swift-f0).",
           "Engel et al. 2020 (DDSP)"),
    Metric("content_f0_outlier", "content", "share", "down", "f0 outliers",
           "Single lines more than an octave off, or without a pitch.", "Engel et al. 2020 (DDSP)"),
    Metric("content_rpa", "content", "share", "up", "raw pitch accuracy",
           "Voiced frames within 50 cents of the source, on single lines.", "Poliner et al. 2007"),
    Metric("content_rca", "content", "share", "up", "raw chroma accuracy",
           "The same with octaves forgiven: the gap is octave errors.", "Poliner et al. 2007"),
    Metric("content_vr", "content", "share", "up", "voicing recall",
           "The source's voiced frames that are voiced, on single lines.", "Poliner et al. 2007"),
    Metric("content_vfa", "content", "share", "down", "voicing false alarm",
           "The source's unvoiced frames that are voiced, on single lines; few frames, so noisy.",
           "Poliner et al. 2007"),
    Metric("content_chroma_dtw", "content", "", "down", "chroma DTW",
           "Cosine distance of constant-Q chroma along the best alignment; saturates early, never read "
           "alone."),
    Metric("content_onset_f1", "content", "", "up", "onset F1",
           "F1 of detected onsets within 50 ms of the source's: rhythm. Bowed targets are low by nature.",
           "MIREX"),
    Metric("content_loud_l1", "content", "dB", "down", "loudness L1",
           "Mean difference of A-weighted frame power to the source's: dynamics.",
           "Engel et al. 2020 (DDSP)"),
    Metric("content_loud_corr", "content", "", "up", "loudness r",
           "Correlation of A-weighted frame power with the source's: dynamics.", "Engel et al. 2020 (DDSP)"),
    Metric("content_chroma_ratio", "content", "", "up", "chroma ratio",
           "Correlation of pitch classes with the source's, divided by the true target's; about 1 is good."),
    Metric("content_peak_ratio", "content", "", "up", "peak ratio",
           "Frames whose strongest pitch class is the source's, divided by the true target's; about 1 is "
           "good."),
    Metric("source_lsd", "content", "dB", "none", "LSD to source",
           "Log-spectral distance to the source, as paired LSD: 0 is unchanged, the oracle's is right."),
    Metric("style_beyond_eq", "style", "share", "up", "beyond EQ",
           "Windows that the hard classifier takes for the real target rather than an equalised source (90 % "
           "sure)."),
    Metric("style_target_rate", "style", "share", "up", "target rate",
           "Windows that the style classifier calls the target; an equaliser alone reaches it."),
    Metric("style_kad_clf", "style", "", "down", "KAD",
           "Kernel distance (x 100) of the style classifier's embedding to recordings of the target, whose "
           "own is near 0.", "Chung et al. 2025", interval=True),
    Metric("style_called", "style", "share", "up", "called the target",
           "Windows that `retimbre classify`, which tells twelve instruments apart, calls the target."),
    Metric("style_target_rate_rf", "style", "share", "up", "target rate, forest",
           "Windows that a random forest on MFCC statistics calls the target.", "Cella's slides"),
    Metric("style_shift", "style", "", "up", "shift",
           "Move of mean MFCC towards recordings of the target: 0 is the source unchanged, 1 as near as the "
           "oracle."),
    Metric("style_kad_mfcc", "style", "", "down", "KAD, MFCC",
           "Kernel distance (x 100) of MFCC statistics to recordings of the target.",
           "Chung et al. 2025", interval=True),
    Metric("style_fad_clf", "style", "", "down", "FAD",
           "Fréchet distance of the embedding on principal axes of recordings; biased upwards with few "
           "windows.", "Kilgour et al. 2019"),
    Metric("style_fad_mfcc", "style", "", "down", "FAD, MFCC",
           "Fréchet distance of MFCC statistics, biased likewise.", "Kilgour et al. 2019"),
    Metric("style_p_target", "style", "", "up", "p(target)",
           "Mean probability that the style classifier gives to the target; silent windows count 0."),
    Metric("style_p_source", "style", "", "down", "p(source)",
           "Mean probability that the style classifier gives to the source."),
    Metric("style_kad_clf_real", "style", "", "none", "KAD of real",
           "KAD between two halves of recordings, as many windows: the floor."),
    Metric("style_kad_mfcc_real", "style", "", "none", "KAD of real, MFCC",
           "The same of MFCC statistics."),
    Metric("style_fad_clf_real", "style", "", "none", "FAD of real",
           "FAD between two halves of recordings, as many windows: its bias."),
    Metric("style_fad_mfcc_real", "style", "", "none", "FAD of real, MFCC",
           "The same of MFCC statistics."),
    Metric("style_fad_dim", "style", "", "none", "FAD axes",
           "Principal axes that FAD is computed on, at most 16."),
    Metric("style_n_windows", "style", "", "none", "windows",
           "Windows (1 s, 50 % overlap) that distances between sets are computed on."),
    Metric("style_ndb", "style", "share", "down", "NDB",
           "k-means bins of log-mel frames that are visited otherwise than by recordings (z-test at 5 %).",
           "Richardson & Weiss 2018"),
    Metric("style_jsd", "style", "bits", "down", "JSD",
           "Jensen-Shannon divergence of the visits to the same bins.", "Richardson & Weiss 2018"),
    Metric("style_precision", "style", "share", "up", "precision",
           "Windows inside the neighbourhoods (5th neighbour) of recordings.", "Kynkäänniemi et al. 2019"),
    Metric("style_recall", "style", "share", "up", "recall",
           "Recordings inside the neighbourhoods of outputs; low when collapsed.",
           "Kynkäänniemi et al. 2019"),
    Metric("style_density", "style", "", "up", "density",
           "How densely recordings surround the outputs.", "Naeem et al. 2020"),
    Metric("style_coverage", "style", "share", "up", "coverage",
           "Recordings with an output near.", "Naeem et al. 2020"),
    Metric("quality_proj_err_db", "quality", "dB", "down", "projection error",
           "Distance of the spectrogram from that of the waveform which phase retrieval finds for it; "
           "recordings have about -25, noise lifts it.", "as TiFGAN's, Marafioti et al. 2019"),
    Metric("quality_clip", "quality", "share", "down", "clipped",
           "Samples at full scale."),
    Metric("quality_silence", "quality", "share", "none", "silence",
           "Frames of 32 ms under -60 dB of full scale; the copy's is right."),
    Metric("quality_lufs_delta", "quality", "LU", "none", "loudness change",
           "Loudness minus the source's; silence counts as -70 LUFS.", "ITU-R BS.1770"),
    Metric("quality_hf_ratio", "quality", "share", "none", "high band",
           "Energy above 4 kHz; the oracle's is right."),
    Metric("quality_consistency", "quality", "", "none", "consistency",
           "Correlation of second differences of log magnitudes in time and frequency; white noise has more "
           "than music.", "Marafioti et al. 2019 (TiFGAN)"),
    Metric("quality_length_delta_s", "quality", "s", "none", "length change",
           "Output's length minus the source's, before it is cut or padded."),
    Metric("fail_muted", "fail", "share", "down", "muted",
           "Outputs that sound in less than half as many frames as the source.",
           "Yoon's dissertation names it"),
    Metric("fail_level", "fail", "share", "down", "level off",
           "Outputs whose loudness differs from the source's by more than 6 LU."),
    Metric("fail_unchanged", "fail", "share", "down", "unchanged",
           "Outputs nearer to their source than all but the nearest 5 % of recordings of the target are.",
           "Yoon's dissertation names it"),
    Metric("fail_collapsed", "fail", "", "down", "collapsed",
           "1 when a direction's outputs are less than half as far apart as recordings of the target."),
    Metric("gan_rel_cycle", "other", "", "down", "relative cycle error",
           "|F(G(x)) - x| / |x| of spectra above the floor: a diagnosis, for doing nothing gives 0.",
           "Gupta & Naik"),
    Metric("gan_rel_identity", "other", "", "down", "relative identity error",
           "|G(y) - y| / |y| over recordings y of the target: a diagnosis.", "Gupta & Naik"),
    Metric("gan_proj_err_db", "other", "dB", "down", "projection error inside",
           "Projection error of the magnitudes that phase retrieval is given.",
           "as TiFGAN's, Marafioti et al. 2019"),
    Metric("probe_lost_notes", "other", "share", "down", "notes lost",
           "Of 100 random single notes that are found in the source, those more than 50 cents off or not "
           "found.", "Cella's slides on autoXsynth", interval=True),
    Metric("probe_notes", "other", "notes", "none", "probed",
           "Random single notes that are found in the source."),
)}
# fmt: on

# Content, both classifiers and the distance to the true target stand beside each other: each alone is
# fooled by something (copying the source, an equaliser, a collapsed generator, the right notes on the
# wrong instrument).
HEADLINE = (
    "content_note_f1",
    "content_jaccard",
    "score_f1",
    "energy_lost",
    "style_target_rate",
    "style_beyond_eq",
    "style_kad_clf",
    "feature_lsd",
    "skill",
    "skill_shifted",
    "paired_lsd",
    "paired_mrstft",
    "paired_timbre",
    "quality_proj_err_db",
)
FAILURES = tuple(name for name, metric in CATALOGUE.items() if metric.family == "fail")


def metric(name: str) -> Metric:
    """The entry of a name in the table; one that is not known keeps its name."""
    return CATALOGUE.get(name) or Metric(name, "other", "", "none", name.replace("_", " "), "")


def known_first(names: Iterable[str]) -> list[str]:
    """Names in the catalogue's order, unknown ones last; without the ends of intervals."""
    found = {name for name in names if not name.endswith(BOUNDS)}
    return [name for name in CATALOGUE if name in found] + sorted(found - set(CATALOGUE))


def to_markdown() -> str:
    """The catalogue as tables, one for each family."""
    lines = []
    for family, title in FAMILIES.items():
        head = "| name | unit | direction | shown as | meaning | source |"
        lines += [f"### {title}", "", head, "|" + "---|" * 6]
        for m in (m for m in CATALOGUE.values() if m.family == family):
            names = ", ".join(f"`{name}`" for name in m.names)
            meaning = m.meaning.replace("|", "\\|")
            lines.append(f"| {names} | {m.unit} | {SIGNS[m.better]} | {m.label} | {meaning} | {m.source} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write the tables into docs/metrics.md of this folder."""
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCS.write_text(f"{before}{BEGIN}\n{to_markdown()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
