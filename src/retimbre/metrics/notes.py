"""Which notes sound: polyphonic pitch by basic-pitch, monophonic by swift-f0, scores by mir_eval.

Conventions
-----------
* Waveforms (N,) float at any rate. Posteriors are (T, 88) note activations at 86.13 frames/s, column k
  is MIDI pitch 21 + k. The estimate is the first argument of a score, the reference (the source, or
  the true target) the second.
* Silence: with a reference that has no note or no pitch a score is undefined (NaN); an output without
  notes against a reference that has some scores 0 (distance 1). So silence is never rewarded: ss-vq-vae
  counts frames in which both are empty as perfect, here they are left out.
* Trackers are noisy: read every score against the oracle row, not against 0 or 1.

Metrics
-------
* :func:`note_f1`: onset F1, 50 ms, 50 cents, offsets ignored (mir_eval.transcription).
* :func:`jaccard`: frame-wise distance of pitch sets (Cífka et al. 2021), 0 is best.
* :func:`mpe_accuracy`: frame accuracy TP / (TP + FP + FN), with octaves told apart or forgiven (mir_eval.multipitch).
* :func:`active_share`: share of frames with any pitch, which :func:`jaccard` is the mean over.
* :func:`pitch_class_dtw`: circular pitch-class distance after time warping.
* :func:`melody_scores`: raw pitch and chroma accuracy, voicing, error in semitones (swift-f0; mir_eval.melody, DDSP).
"""

import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import librosa
import mir_eval
import numpy as np
import onnxruntime
import scipy.signal
import soxr

from retimbre.metrics.memory import Memory, content_key
from retimbre.metrics.spectral import level, pitch_class_distance

BASIC_PITCH_RATE = 22050
FFT_HOP = 256
WINDOW_SAMPLES = 2 * BASIC_PITCH_RATE - FFT_HOP  # the network's fixed input, two seconds less one hop
OVERLAP_FRAMES = 30  # of neighbouring windows; half is dropped at either side
LOWEST_MIDI = 21
ONSET_THRESHOLD, FRAME_THRESHOLD = 0.5, 0.3  # basic-pitch's defaults
MIN_NOTE_FRAMES = 11  # 128 ms
SILENCE_PEAK = 1e-4  # below -80 dB of full scale nothing is tracked
CACHE_SIZE = 512
MELODIES_KEPT = 256
VOICED_CONFIDENCE = 0.5
TRACKED_RMS = 0.1
OUTLIER_SEMITONES = 12.0
MELODY_SCORES = ("content_rpa", "content_rca", "content_vr", "content_vfa", "content_f0_l1", "content_f0_outlier")


@dataclass(frozen=True)
class Transcription:
    """Note events and note activations of one recording."""

    intervals_s: np.ndarray  # (notes, 2) onset and offset in seconds
    pitches_midi: np.ndarray  # (notes,)
    posterior: np.ndarray  # (T, 88), 0 to 1

    @property
    def active(self) -> np.ndarray:
        """(T, 88) bool: activations above basic-pitch's frame threshold."""
        return self.posterior > FRAME_THRESHOLD


class NoteTranscriber:
    """basic-pitch (Bittner et al., ICASSP 2022) through onnxruntime on one thread.

    The weights are the ONNX file inside the basic-pitch wheel (Apache-2.0); no other part of the
    package is imported, because it wants TensorFlow. Results are kept in memory by content (the last
    512) and, with ``cache``, in that folder.
    """

    def __init__(self, cache: str | Path | None = None):
        package = importlib.util.find_spec("basic_pitch")
        if package is None or not package.submodule_search_locations:
            raise ImportError("basic-pitch is not installed: pip install --no-deps basic-pitch==0.4.0")
        weights = Path(next(iter(package.submodule_search_locations))) / "saved_models/icassp_2022/nmp.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name
        self.memory = Memory(CACHE_SIZE)
        self.cache = Path(cache) if cache else None

    def __call__(self, audio: np.ndarray, sample_rate: int) -> Transcription:
        """Transcribe a mono recording (N,)."""
        key = content_key(audio, sample_rate)
        return self.memory(key, lambda: self._stored(key, audio, sample_rate))

    def __reduce__(self) -> tuple[type, tuple[Path | None]]:
        return NoteTranscriber, (self.cache,)  # a session cannot travel to another process: it is made anew

    def _stored(self, key: str, audio: np.ndarray, sample_rate: int) -> Transcription:
        """From the folder, or computed and put there."""
        file = self.cache / f"{key}.npz" if self.cache else None
        if file and file.exists():
            with np.load(file, allow_pickle=False) as stored:
                return Transcription(stored["intervals_s"], stored["pitches_midi"], stored["posterior"].astype(np.float32))
        # float16 in memory and on disk alike: a cached result equals a fresh one.
        posterior, onsets = (x.astype(np.float16).astype(np.float32) for x in self._posteriors(audio, sample_rate))
        result = Transcription(*decode_notes(posterior, onsets), posterior)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}.npz")
            stored = {"intervals_s": result.intervals_s, "pitches_midi": result.pitches_midi, "posterior": posterior.astype(np.float16)}
            np.savez_compressed(partial, **stored)
            partial.replace(file)
        return result

    def _posteriors(self, audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Note and onset activations, (T, 88) each, by overlapping windows as basic-pitch does."""
        frames = len(audio) * BASIC_PITCH_RATE // sample_rate // FFT_HOP
        peak = float(np.abs(audio).max(initial=0.0))
        if peak < SILENCE_PEAK:
            return np.zeros((frames, 88), np.float32), np.zeros((frames, 88), np.float32)
        x = soxr.resample(audio.astype(np.float32) / peak * 0.9, sample_rate, BASIC_PITCH_RATE)
        overlap = OVERLAP_FRAMES * FFT_HOP
        x = np.concatenate([np.zeros(overlap // 2, np.float32), x])
        notes, onsets = [], []
        for start in range(0, len(x), WINDOW_SAMPLES - overlap):
            window = x[start : start + WINDOW_SAMPLES]
            window = np.pad(window, (0, WINDOW_SAMPLES - len(window)))[None, :, None]
            note, onset = self.session.run(["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"], {self.input_name: window})
            notes.append(note[0, OVERLAP_FRAMES // 2 : -OVERLAP_FRAMES // 2])
            onsets.append(onset[0, OVERLAP_FRAMES // 2 : -OVERLAP_FRAMES // 2])
        return np.concatenate(notes)[:frames], np.concatenate(onsets)[:frames]


def decode_notes(notes: np.ndarray, onsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Note events from activations (T, 88): intervals (n, 2) in seconds and MIDI pitches (n,).

    basic-pitch's procedure without its last, onset-less pass: peaks of the onset activation (raised by
    sudden rises of the note activation), taken from the end backwards, are followed until the note
    activation has stayed under its threshold for 11 frames; what was followed is used up.
    """
    if len(notes) < 3 or not notes.any():
        return np.zeros((0, 2)), np.zeros(0)
    rise = np.minimum(notes - np.pad(notes, ((1, 0), (0, 0)))[:-1], notes - np.pad(notes, ((2, 0), (0, 0)))[:-2])
    rise = np.maximum(rise, 0)
    rise[:2] = 0
    onsets = np.maximum(onsets, rise * onsets.max() / max(rise.max(), 1e-9))
    left, energy, found = len(notes), notes.copy(), []
    times, keys = scipy.signal.argrelmax(onsets, axis=0)
    strong = onsets[times, keys] >= ONSET_THRESHOLD
    for start, key in sorted(zip(times[strong], keys[strong], strict=True), reverse=True):
        end, quiet = start + 1, 0
        while end < left - 1 and quiet < MIN_NOTE_FRAMES:
            quiet = quiet + 1 if energy[end, key] < FRAME_THRESHOLD else 0
            end += 1
        end -= quiet
        if end - start <= MIN_NOTE_FRAMES:
            continue
        energy[start:end, max(key - 1, 0) : key + 2] = 0
        found.append((start, end, key + LOWEST_MIDI))
    if not found:
        return np.zeros((0, 2)), np.zeros(0)
    events = np.array(sorted(found))
    return frame_times_s(events[:, :2]), events[:, 2].astype(np.float64)


def frame_times_s(frames: np.ndarray) -> np.ndarray:
    """Times of frame numbers in seconds.

    A window gives 142 frames but the next one starts 141.3 frames later, so the frame rate is not
    quite constant; uncorrected, a note after a minute would be a third of a second late.
    """
    kept = WINDOW_SAMPLES // FFT_HOP + 1 - OVERLAP_FRAMES
    advance = WINDOW_SAMPLES - OVERLAP_FRAMES * FFT_HOP
    return (frames // kept * advance + frames % kept * FFT_HOP) / BASIC_PITCH_RATE


# ------------------------------------------------------------------------------------------ scores


def note_f1(estimate: Transcription, reference: Transcription, onset_tolerance_s: float = 0.05) -> float:
    """F1 of note onsets within 50 ms and 50 cents; offsets are ignored (mir_eval.transcription, MIREX)."""
    if len(reference.pitches_midi) == 0:
        return float("nan")
    if len(estimate.pitches_midi) == 0:
        return 0.0
    hz = [440.0 * 2.0 ** ((t.pitches_midi - 69) / 12) for t in (reference, estimate)]
    events = (reference.intervals_s, hz[0], estimate.intervals_s, hz[1])
    _, _, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(*events, onset_tolerance=onset_tolerance_s, offset_ratio=None)
    return float(f1)


def _same_frames(estimate: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both (T, 88) with the frames of the longer one; missing frames are silent."""
    frames = max(len(estimate), len(reference))
    return tuple(np.pad(x, ((0, frames - len(x)), (0, 0))) for x in (estimate, reference))  # type: ignore[return-value]


def jaccard(estimate: Transcription, reference: Transcription) -> float:
    """Mean over frames with any pitch of 1 - |P and Q| / |P or Q|: 0 the same pitches, 1 none in common."""
    a, b = _same_frames(estimate.active, reference.active)
    if not b.any():
        return float("nan")
    union = (a | b).sum(axis=1)
    sounding = union > 0
    return float((1.0 - (a & b).sum(axis=1)[sounding] / union[sounding]).mean())


def active_share(estimate: Transcription, reference: Transcription) -> float:
    """Share of frames in which either has a pitch: what :func:`jaccard` is the mean over. NaN for recordings without frames."""
    a, b = _same_frames(estimate.active, reference.active)
    return float((a | b).any(axis=1).mean()) if len(a) else float("nan")


def pitch_class_dtw(estimate: Transcription, reference: Transcription) -> float:
    """Pitch-class distance in semitones, 0 to 6, after dynamic time warping; DTW forgives every change of rhythm.

    The strongest pitch class per frame (activations, maximum over octaves), *circular* distance, cost over path length: the
    "DPD" of latent diffusion bridges (ICASSP 2025), whose code puts B and C 11 apart. Frames silent in both are left
    out; silence against a pitch costs 6.
    """
    a, b = _same_frames(estimate.posterior, reference.posterior)
    sounding = [(x > FRAME_THRESHOLD).any(axis=1) for x in (a, b)]
    if not sounding[1].any():
        return float("nan")
    kept = sounding[0] | sounding[1]
    classes = [np.stack([x[kept, k::12].max(axis=1) for k in range(12)]).argmax(axis=0) for x in (a, b)]
    cost = pitch_class_distance(classes[0][:, None], classes[1][None]).astype(float)
    cost[~(sounding[0][kept][:, None] & sounding[1][kept][None])] = 6.0
    total, path = librosa.sequence.dtw(C=cost)
    return float(total[-1, -1] / len(path))


def mpe_accuracy(estimate: Transcription, reference: Transcription, chroma: bool = False) -> float:
    """Multi-pitch accuracy TP / (TP + FP + FN) over all frames (Poliner & Ellis 2007); ``chroma`` forgives octaves.

    The difference of the two is the share of octave errors. Equal to mir_eval.multipitch on the same
    frames (a test holds it); computed on the piano roll because pitches are whole semitones here.
    """
    a, b = (x.astype(int) for x in _same_frames(estimate.active, reference.active))
    if not b.any():
        return float("nan")
    if chroma:  # pitches in MIDI order; 21 is an A, which pitch class is which does not matter
        a, b = (np.stack([x[:, k::12].sum(axis=1) for k in range(12)], axis=1) for x in (a, b))
    true = np.minimum(a, b).sum()
    return float(true / (a.sum() + b.sum() - true))


@lru_cache(maxsize=1)
def _swift_f0():
    from swift_f0 import SwiftF0  # 20 ms and a thread pool: only for those who ask

    return SwiftF0(threads=1, spin=False)


_melodies = Memory(MELODIES_KEPT)


def melody(audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """swift-f0's melody of a monophonic recording (N,): times in s, pitch in Hz, voiced (all (T,)), 62.5 frames/s.

    Voiced: its confidence is at least 0.5, which stands for the CREPE confidence of DDSP's evaluation. The tracker hears
    faint music worse, so every recording is levelled for it; silence is not voiced. Kept by content.
    """

    def track() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        silent = np.abs(audio).max(initial=0.0) < SILENCE_PEAK
        heard = audio if silent else level(audio) * TRACKED_RMS
        result = _swift_f0().detect(np.ascontiguousarray(heard, np.float32), sample_rate)
        return result.timestamps, result.pitch_hz, (result.confidence >= VOICED_CONFIDENCE) & (not silent)

    return _melodies(content_key(audio, sample_rate), track)


def melody_scores(estimate: np.ndarray, reference: np.ndarray, sample_rate: int) -> dict[str, float]:
    """Monophonic pitch of two waveforms (N,), frame by frame (62.5 per second); all NaN when the reference has no voiced frame.

    ``content_rpa``, ``content_rca``: share of the reference's voiced frames in which the estimate is voiced and within
    50 cents, without and with octaves forgiven; ``content_vr``: share of them in which it is voiced at all; ``content_vfa``:
    share of the reference's unvoiced frames in which the estimate is voiced, NaN without one (mir_eval.melody,
    Poliner et al. 2007). ``content_f0_l1``: mean absolute error in semitones over the reference's voiced frames, whatever the
    tracker thinks of the estimate's; ``content_f0_outlier``: 1 when that is above 12 or the estimate has no voiced
    frame, and then ``content_f0_l1`` is NaN: an octave lost half the time must not be averaged with cents (DDSP, Engel et al. 2020).
    """
    (_, ref_hz, ref_voiced), (_, est_hz, est_voiced) = melody(reference, sample_rate), melody(estimate, sample_rate)
    frames = min(len(ref_hz), len(est_hz))
    ref_hz, ref_voiced, est_hz, est_voiced = (x[:frames] for x in (ref_hz, ref_voiced, est_hz, est_voiced))
    undefined = dict.fromkeys(MELODY_SCORES, float("nan"))
    if not ref_voiced.any():
        return undefined
    false_alarm = float("nan") if ref_voiced.all() else float(est_voiced[~ref_voiced].mean())
    if not est_voiced.any():
        lost = {"content_rpa": 0.0, "content_rca": 0.0, "content_vr": 0.0, "content_vfa": false_alarm, "content_f0_outlier": 1.0}
        return undefined | lost
    # A frame that the tracker calls unvoiced has no pitch: leave it at 0 cents, which mir_eval counts as wrong.
    cents = [mir_eval.melody.hz2cents(np.where(v, hz, 0.0)) for hz, v in ((ref_hz, ref_voiced), (est_hz, est_voiced))]
    events = (ref_voiced.astype(float), cents[0], est_voiced.astype(float), cents[1])
    both = ref_voiced & (est_hz > 0)
    error = float(np.abs(12 * np.log2(est_hz[both] / ref_hz[both])).mean()) if both.any() else float("inf")
    return {
        "content_rpa": float(mir_eval.melody.raw_pitch_accuracy(*events)),
        "content_rca": float(mir_eval.melody.raw_chroma_accuracy(*events)),
        "content_vr": float(mir_eval.melody.voicing_recall(events[0], events[2])),
        "content_vfa": false_alarm,
        "content_f0_l1": error if error <= OUTLIER_SEMITONES else float("nan"),
        "content_f0_outlier": float(error > OUTLIER_SEMITONES),
    }


def raw_pitch_accuracy(estimate: np.ndarray, reference: np.ndarray, sample_rate: int, chroma: bool = False) -> float:
    """``content_rpa`` of :func:`melody_scores`, or with ``chroma`` its ``content_rca``."""
    return melody_scores(estimate, reference, sample_rate)["content_rca" if chroma else "content_rpa"]
