"""The whole file, and the rules that hold between sections.

Each rule raises ValueError with one sentence that names the parameter and what to do.
"""

from pydantic import model_validator

from retimbre.params.base import Natural, Section
from retimbre.params.data import Audio, Dataset, Features
from retimbre.params.measuring import Baselines, Evaluate, Listening
from retimbre.params.training import Classifier, Model, Vocoder

EXCITATION_MARGIN = 320  # samples; models.excited.MARGIN (a test compares)


class Params(Section):
    """The whole file."""

    seed: Natural
    dataset: Dataset
    audio: Audio
    features: Features
    classifier: Classifier
    model: Model
    vocoder: Vocoder
    evaluate: Evaluate
    listening: Listening
    baselines: Baselines

    @model_validator(mode="after")
    def _together(self) -> "Params":
        for rule in RULES:
            rule(self)
        return self


def constant_q_fits(p: Params) -> None:
    """Every filter of the constant-Q transform lies below half of the sample rate."""
    f, nyquist = p.features, p.audio.sample_rate / 2
    top = f.cqt_fmin_hz * 2 ** ((f.cqt_bins - 1) / f.cqt_bins_per_octave)
    # Half of a Hann wavelet's bandwidth (1.5 bins of its transform) lies above its centre.
    edge = top * (1 + 0.75 * (2 ** (1 / f.cqt_bins_per_octave) - 1))
    if edge >= nyquist:
        raise ValueError(
            f"features.cqt_bins: the highest filter would end at {edge:.0f} Hz, above half of audio.sample_rate "
            f"({nyquist:.0f} Hz): use fewer bins"
        )


def receptive_field(v: Vocoder, hop: int) -> int:
    """Samples, as ``WaveNetConfig.receptive_field`` has it (a test compares)."""
    field = 1 + (v.wavenet_kernel - 1) * sum(2 ** (layer % v.wavenet_layers_per_stack) for layer in range(v.wavenet_layers))
    if v.wavenet_context_layers:
        field = max(field, field - v.wavenet_kernel + (2**v.wavenet_context_layers + 1) * hop // 4)
    return field


def wavenet_crops_are_long_enough(p: Params) -> None:
    v, hop = p.vocoder, p.features.hop_length
    if not {"wavenet", "wavenet_excited"} & set(v.kinds):
        return
    field = receptive_field(v, hop)
    if v.wavenet_crop_frames * hop < field:
        raise ValueError(
            f"vocoder.wavenet_crop_frames: a crop of {v.wavenet_crop_frames * hop} samples is shorter than the WaveNet's "
            f"receptive field of {field}, a part of which would never learn: use {-(-field // hop)} or more, or fewer layers"
        )


def vocoder_reads_what_generators_write(p: Params) -> None:
    if p.vocoder.representation != p.model.representation:
        raise ValueError(
            f"vocoder.representation must be the same as model.representation ({p.model.representation}): "
            "the vocoder reads what the generators write"
        )


def istft_has_overlap_and_a_middle(p: Params) -> None:
    v, hop = p.vocoder, p.features.hop_length
    if "istft" not in v.kinds:
        return
    # Three at a crop's ends (training.istft), one for the loss.
    edges = 4 * max(1, round(0.064 * p.audio.sample_rate / hop))
    if v.istft_n_fft < 2 * hop - 1:
        raise ValueError(f"vocoder.istft_n_fft must be at least twice features.hop_length ({2 * hop})")
    if v.istft_crop_frames < edges:
        raise ValueError(f"vocoder.istft_crop_frames must be at least {edges}: a crop's ends are not trained on")


def least_segment_frames(vocoder: Vocoder, hop_length: int) -> int:
    """Frames that a segment of ``wavenet_excited`` needs for a crop and the excitation beyond both of its ends."""
    return vocoder.wavenet_crop_frames + 2 * -(-EXCITATION_MARGIN // hop_length)


def excited_segments_hold_a_crop(p: Params) -> None:
    """The excitation is heard beyond both ends of a crop."""
    if "wavenet_excited" not in p.vocoder.kinds:
        return
    least = least_segment_frames(p.vocoder, p.features.hop_length)
    if p.vocoder.excited_segment_frames < least:
        raise ValueError(f"vocoder.excited_segment_frames must be at least {least}: crops of wavenet_crop_frames are cut from them")


def classifier_window_fits(p: Params) -> None:
    frames = int(p.dataset.excerpt_s * p.audio.sample_rate) // p.features.hop_length + 1
    if frames < p.classifier.window_frames:
        raise ValueError(f"classifier.window_frames must be at most the {frames} frames of dataset.excerpt_s, which it is tested on")


def content_loss_has_semitones(p: Params) -> None:
    if p.model.lambda_content and p.features.cqt_bins_per_octave % 12:
        raise ValueError("model.lambda_content needs features.cqt_bins_per_octave to be a multiple of 12: set it to 0")


def pix2pix_has_pairs(p: Params) -> None:
    if p.model.method == "pix2pix" and not p.dataset.paired_training:
        raise ValueError("model.method pix2pix learns from pairs: set dataset.paired_training to true")


RULES = (
    constant_q_fits,
    wavenet_crops_are_long_enough,
    vocoder_reads_what_generators_write,
    istft_has_overlap_and_a_middle,
    excited_segments_hold_a_crop,
    classifier_window_fits,
    content_loss_has_semitones,
    pix2pix_has_pairs,
)
