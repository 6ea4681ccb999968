"""Pitch by published networks: which notes sound (basic-pitch) and how a single line goes (swift-f0).

What they say of two recordings is compared by :mod:`retimbre.metrics.notes`. Recordings (N,) may have any
rate.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import soxr

from retimbre.metrics.memory import Memory, content_key
from retimbre.metrics.note_events import note_events
from retimbre.metrics.notes import Melody, Transcription
from retimbre.metrics.spectral import level

BASIC_PITCH_RATE = 22050
FFT_HOP = 256
WINDOW_SAMPLES = 2 * BASIC_PITCH_RATE - FFT_HOP  # the network's fixed input, two seconds less one hop
OVERLAP_FRAMES = 30  # of neighbouring windows; half is dropped at either side
OUTPUTS = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]  # notes and onsets
SILENCE_PEAK = 1e-4  # below -80 dB of full scale nothing is tracked
TRANSCRIPTIONS_KEPT, MELODIES_KEPT = 512, 256
VOICED_CONFIDENCE = 0.5
TRACKED_RMS = 0.1


class NoteTranscriber:
    """basic-pitch (Bittner et al., ICASSP 2022) through onnxruntime on one thread.

    The weights are the ONNX file inside the basic-pitch wheel (Apache-2.0); no other part of the package is
    imported, because it wants TensorFlow. The last 512 results are kept by content.
    """

    def __init__(self):
        package = importlib.util.find_spec("basic_pitch")
        if package is None or not package.submodule_search_locations:
            raise ImportError("basic-pitch is not installed: pip install --no-deps basic-pitch==0.4.0")
        weights = Path(next(iter(package.submodule_search_locations))) / "saved_models/icassp_2022/nmp.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        self.input_name = self.session.get_inputs()[0].name
        self.memory = Memory(TRANSCRIPTIONS_KEPT)

    def __reduce__(self) -> tuple[type, tuple]:
        return NoteTranscriber, ()  # a session cannot travel to another process: it is made anew

    def __call__(self, audio: np.ndarray, sample_rate: int) -> Transcription:
        """Transcribe a mono recording (N,)."""
        return self.memory(content_key(audio, sample_rate), lambda: self._transcribe(audio, sample_rate))

    def _transcribe(self, audio: np.ndarray, sample_rate: int) -> Transcription:
        # Rounded to float16, as the evaluation's cache stores them: a cached result equals a fresh one.
        notes, onsets = (
            x.astype(np.float16).astype(np.float32) for x in self._posteriors(audio, sample_rate)
        )
        events = note_events(notes, onsets)
        return Transcription(frame_times_s(events[:, :2]), events[:, 2].astype(np.float64), notes)

    def _posteriors(self, audio: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Note and onset activations, (T, 88) each, by overlapping windows as basic-pitch does."""
        frames = len(audio) * BASIC_PITCH_RATE // sample_rate // FFT_HOP
        peak = float(np.abs(audio).max(initial=0.0))
        if peak < SILENCE_PEAK:
            return np.zeros((frames, 88), np.float32), np.zeros((frames, 88), np.float32)
        x = soxr.resample(audio.astype(np.float32) / peak * 0.9, sample_rate, BASIC_PITCH_RATE)
        overlap = OVERLAP_FRAMES * FFT_HOP
        x = np.concatenate([np.zeros(overlap // 2, np.float32), x])
        parts = []
        for start in range(0, len(x), WINDOW_SAMPLES - overlap):
            window = x[start : start + WINDOW_SAMPLES]
            window = np.pad(window, (0, WINDOW_SAMPLES - len(window)))[None, :, None]
            heard = self.session.run(OUTPUTS, {self.input_name: window})
            parts.append([x[0, OVERLAP_FRAMES // 2 : -OVERLAP_FRAMES // 2] for x in heard])
        notes, onsets = (np.concatenate(x)[:frames] for x in zip(*parts, strict=True))
        return notes, onsets


def frame_times_s(frames: np.ndarray) -> np.ndarray:
    """Times of frame numbers in seconds.

    A window gives 142 frames but the next one starts 141.3 frames later, so the frame rate is not quite
    constant; uncorrected, a note after a minute would be a third of a second late.
    """
    kept = WINDOW_SAMPLES // FFT_HOP + 1 - OVERLAP_FRAMES
    advance = WINDOW_SAMPLES - OVERLAP_FRAMES * FFT_HOP
    return (frames // kept * advance + frames % kept * FFT_HOP) / BASIC_PITCH_RATE


@lru_cache(maxsize=1)
def _swift_f0():
    from swift_f0 import SwiftF0  # 20 ms and a thread pool: only for those who ask

    return SwiftF0(threads=1, spin=False)


_melodies = Memory(MELODIES_KEPT)


def melody(audio: np.ndarray, sample_rate: int) -> Melody:
    """swift-f0's melody of a monophonic recording (N,), 62.5 frames per second, kept by content.

    Voiced: its confidence is at least 0.5, which stands for the CREPE confidence of DDSP's evaluation. The
    tracker hears faint music worse, so every recording is levelled for it; silence is not voiced.
    """

    def track() -> Melody:
        silent = np.abs(audio).max(initial=0.0) < SILENCE_PEAK
        heard = audio if silent else level(audio) * TRACKED_RMS
        result = _swift_f0().detect(np.ascontiguousarray(heard, np.float32), sample_rate)
        return Melody(
            result.timestamps, result.pitch_hz, (result.confidence >= VOICED_CONFIDENCE) & (not silent)
        )

    return _melodies(content_key(audio, sample_rate), track)
