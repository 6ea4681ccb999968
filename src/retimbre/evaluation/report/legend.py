"""What the rows and columns of the results are called, what they mean, and in which order they stand."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas

from retimbre.metrics import headline


@dataclass(frozen=True)
class Column:
    """How a metric is shown: short label, which way is better (up | down | none), and what it means in a sentence."""

    label: str
    better: str
    meaning: str


FAMILIES = {
    "paired": "Against the true target",
    "content": "Content kept",
    "style": "Timbre reached",
    "quality": "Signal quality",
    "fail": "Failures",
    "other": "Inside the models, and cost",
}
COLUMNS = {
    "paired_lsd": Column("LSD", "down", "Log-spectral distance in dB to the true target's audio, as in ss-vq-vae."),
    "paired_timbre": Column("MFCC distance", "down", "1 - cosine of mean MFCCs to the true target: average colour of the sound."),
    "feature_lsd": Column("feature LSD", "down", "Log-spectral distance in dB to the true target, in the generators' own features."),
    "skill": Column("skill", "up", "Feature LSD from 0 = source unchanged to 1 = a second performance on the true instrument."),
    "content_note_f1": Column("notes kept", "up", "F1 of the source's note onsets (50 ms, 50 cents); its ceiling is the oracle row."),
    "content_jaccard": Column("pitch sets", "down", "Jaccard distance of the pitches that sound to the source's, frame by frame."),
    "style_beyond_eq": Column(
        "beyond EQ", "up", "Hard judge: share of windows taken for the real target rather than an equalised source (90 % sure)."
    ),
    "style_target_rate": Column("target rate", "up", "Share of windows that an ordinary classifier calls the target; easy to fool."),
    "style_kad_clf": Column("KAD", "down", "Kernel distance (× 100) of the judge's embedding to real targets; real ones are near 0."),
    "quality_proj_err_db": Column("projection error", "down", "Distance in dB of the spectrum from any waveform's; real ones: about −27."),
    "fail_muted": Column("muted", "down", "Share of outputs that sound in less than half as many frames as the source."),
    "fail_level": Column("level off", "down", "Share of outputs whose loudness differs from the source's by more than 6 LU."),
    "fail_unchanged": Column("unchanged", "down", "Share of outputs that are nearer to their source than real targets are."),
    "fail_collapsed": Column("collapsed", "down", "1 when a direction's outputs are far more alike than real recordings."),
    "paired_lsd_frame": Column("LSD by frame", "down", "The usual log-spectral distance in dB: root over bands, mean over time."),
    "paired_mrstft": Column("MR-STFT", "down", "Multi-resolution STFT distance to the true target (FFT 512, 1024, 2048)."),
    "paired_mel_l1_db": Column("mel L1", "down", "Mean difference of log-mel levels in dB to the true target's audio."),
    "content_mpe_acc": Column("multi-pitch", "up", "Frame accuracy TP / (TP + FP + FN) of all sounding pitches against the source."),
    "content_mpe_chroma_acc": Column("multi-pitch, octaves forgiven", "up", "The same for pitch classes: the gap is octave errors."),
    "content_active_share": Column("active frames", "none", "Share of frames in which the output or the source has a pitch."),
    "content_dpd": Column("pitch DTW", "down", "Circular pitch-class distance along the best alignment, in semitones."),
    "content_f0_l1": Column("f0 error", "down", "Mean pitch error in semitones on confidently pitched frames of single-line tunes."),
    "content_f0_outlier": Column("f0 outliers", "down", "Share of single-line clips more than an octave off, or without a pitch."),
    "content_rpa": Column("pitch kept", "up", "Share of voiced frames within 50 cents of the source, on single-line tunes."),
    "content_rca": Column("chroma kept", "up", "The same with octaves forgiven."),
    "content_vr": Column("voicing recall", "up", "Share of the source's voiced frames that are voiced."),
    "content_vfa": Column("voicing false alarm", "down", "Share of the source's unvoiced frames that are voiced."),
    "content_chroma_dtw": Column("chroma DTW", "down", "Cosine distance of chroma along the best alignment; saturates early."),
    "content_onset_f1": Column("onsets", "up", "F1 of detected onsets within 50 ms of the source's."),
    "content_loud_l1": Column("loudness L1", "down", "Mean difference of A-weighted frame power in dB."),
    "content_loud_corr": Column("loudness r", "up", "Correlation of A-weighted frame power with the source's: dynamics kept."),
    "content_chroma_ratio": Column("chroma ratio", "up", "Likeness of pitch classes to the source, relative to the true target's."),
    "content_peak_ratio": Column("peak ratio", "up", "Likeness of spectral peaks to the source, relative to the true target's."),
    "style_target_rate_rf": Column("target rate, forest", "up", "A second opinion: random forest on MFCC statistics."),
    "style_shift": Column("shift", "up", "Move towards real targets: 0 = source unchanged, 1 = as near as the oracle."),
    "style_kad_mfcc": Column("KAD, MFCC", "down", "Kernel distance (× 100) of MFCC statistics to real target recordings."),
    "style_fad_clf": Column("FAD", "down", "Fréchet distance of the embedding; biased upwards with few windows."),
    "style_fad_mfcc": Column("FAD, MFCC", "down", "Fréchet distance of MFCC statistics; biased upwards with few windows."),
    "style_p_target": Column("p(target)", "up", "Mean probability that the ordinary judge gives to the target."),
    "style_p_source": Column("p(source)", "down", "Mean probability that the ordinary judge gives to the source."),
    "style_kad_clf_real": Column("KAD of real", "none", "The same between two halves of real recordings, as many windows: the floor."),
    "style_kad_mfcc_real": Column("KAD of real, MFCC", "none", "The same of MFCC statistics."),
    "style_fad_clf_real": Column("FAD of real", "none", "FAD between two halves of real recordings, as many windows: its bias."),
    "style_fad_mfcc_real": Column("FAD of real, MFCC", "none", "The same of MFCC statistics."),
    "style_fad_dim": Column("FAD axes", "none", "Principal axes that FAD is computed on."),
    "style_n_windows": Column("windows", "none", "Windows that the distances between sets are computed on."),
    "style_ndb": Column("NDB", "down", "Share of k-means bins whose share differs from real recordings'; 0.05 by chance."),
    "style_jsd": Column("JSD", "down", "Jensen-Shannon divergence of the shares of the same bins."),
    "style_precision": Column("precision", "up", "Share of windows inside the real recordings' neighbourhoods."),
    "style_recall": Column("recall", "up", "Share of real recordings inside the outputs' neighbourhoods; low when collapsed."),
    "style_density": Column("density", "up", "How densely real recordings surround the outputs."),
    "style_coverage": Column("coverage", "up", "Share of real recordings with an output near."),
    "quality_clip": Column("clipped", "down", "Share of samples at full scale."),
    "quality_silence": Column("silence", "none", "Share of silent frames."),
    "quality_lufs_delta": Column("loudness change", "none", "Loudness minus the source's, in LU."),
    "quality_hf_ratio": Column("high band", "none", "Share of energy in the upper half of the spectrum."),
    "quality_consistency": Column("consistency", "none", "Phase consistency of the spectrogram; the same as a recording's is good."),
    "quality_length_delta_s": Column("length change", "none", "Output's length minus the source's, in seconds."),
    "gan_rel_cycle": Column("relative cycle error", "down", "|F(G(x)) − x| / |x|: a diagnostic, no measure of success."),
    "gan_rel_identity": Column("relative identity error", "down", "|G(y) − y| / |y| over recordings y of the target."),
    "gan_proj_err_db": Column("projection error inside", "down", "Projection error in dB of the magnitudes that the vocoder was given."),
    "probe_lost_notes": Column("notes lost", "down", "Share of random single notes that are a quarter tone or more off."),
    "probe_notes": Column("notes probed", "none", "Number of random single notes."),
    "source_lsd": Column("LSD to source", "none", "Log-spectral distance in dB to the source: 0 is unchanged."),
    "rtf": Column("time", "down", "Seconds of computing per second of audio."),
}  # fmt: skip
HEADLINE = tuple(h.metric for h in (*headline.HEADLINE, *headline.FAILURES))

GROUPS = ("controls", "baselines", "systems", "vocoders alone")
CONTROLS = ("copy", "eq_match", "eq_affine", "oracle", "unrelated")
BASELINES = ("cepstral", "mosaicing", "musaicing", "gram", "texture")
MAIN = "cyclegan"  # the system that best, worst and the embedding map are about
ROWS = {
    "source": "What is to be transferred.",
    "target": "The same performance on the target: a perfect transfer.",
    "copy": "Control: the source, unchanged. Best content, no transfer.",
    "eq_match": "Control: the source with the target's average spectrum (an equaliser).",
    "eq_affine": "Control: the source with the target's average and spread in every frequency bin.",
    "oracle": "Control: another performance of the same score on the true target instrument. As good as it gets.",
    "unrelated": "Control: the target instrument playing another tune. Best timbre, no content.",
    "cepstral": "Baseline: the source flattened by its cepstral envelope and given the target's.",
    "mosaicing": "Baseline: nearest grains of target recordings, by MFCC.",
    "musaicing": "Baseline: NMF with target recordings as its templates (“let it bee”).",
    "gram": "Baseline: a spectrogram optimised to the Gram matrices of the target.",
    "texture": "Baseline: random-CNN texture synthesis after Ulyanov and Lebedev.",
    "cyclegan": "CycleGAN with the default vocoder.",
    "cyclegan_wavenet": "CycleGAN with the WaveNet vocoder, on a few pieces only.",
    "cyclegan_source_phase": "CycleGAN on the phase of the source recording.",
    "cyclegan_griffin_lim": "CycleGAN on phases found by Griffin-Lim: nothing of the source but its levels.",
    "cyclegan_istft": "CycleGAN with the inverse-STFT vocoder: nothing of the source but its levels.",
    "cyclegan_wavenet_excited": "CycleGAN with the WaveNet that hears the inverter's waveform, on a few pieces only.",
}


def group_of(system: str) -> str:
    """The group of rows that a system belongs to."""
    if system in CONTROLS:
        return "controls"
    if system.startswith("vocoder_"):
        return "vocoders alone"
    return "baselines" if system.split("_")[0] in BASELINES else "systems"


def in_order(systems: Iterable[str]) -> list[str]:
    """Systems by group, within a group as given."""
    names = list(dict.fromkeys(systems))
    return [s for group in GROUPS for s in names if group_of(s) == group]


def main_system(table: pandas.DataFrame) -> str | None:
    """The system that pictures and rankings are about: ``MAIN``, else the first that is no control."""
    systems = [s for s in in_order(table.system.unique()) if group_of(s) in ("systems", "baselines")]
    return MAIN if MAIN in systems else min(systems, key=lambda s: group_of(s) == "baselines", default=None)


def about(system: str) -> str:
    """A sentence on a row of the table."""
    if system.startswith("vocoder_"):
        kind = system.removeprefix("vocoder_").replace("_", " ")
        return f"The true target rebuilt from its own features ({kind}): the best that this vocoder allows."
    return ROWS.get(system, "")


def column(metric: str) -> Column:
    """How a metric is shown; one that is not known keeps its name."""
    return COLUMNS.get(metric) or Column(metric.split("_", 1)[-1].replace("_", " "), "none", "")


def family_of(metric: str) -> str:
    """The family of :data:`FAMILIES` that a metric belongs to."""
    if metric in ("skill", "feature_lsd"):
        return "paired"
    prefix = metric.split("_")[0]
    return prefix if prefix in FAMILIES else "other"


def known_first(metrics: Iterable[str]) -> list[str]:
    """Metrics in the order of COLUMNS, unknown ones last by name; without the ends of intervals (``_low``, ``_high``)."""
    found = {m for m in metrics if not m.endswith(("_low", "_high"))}
    return [m for m in COLUMNS if m in found] + sorted(found - set(COLUMNS))


def number(value: float, digits: int = 3) -> str:
    """About three significant digits without exponents and never more than four decimals: 0.853, 12.3, 1240."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–"
    rounded = float(f"{value:.{digits - 1}e}")  # 0.9999 is 1.00, not 1.000
    decimals = min(4, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))
    text = f"{value:.{decimals}f}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def spoken(name: str) -> str:
    """``piano_to_guitar`` as people write it: ``piano → guitar``; other names without underscores."""
    return name.replace("_to_", " → ").replace("_", " ")
