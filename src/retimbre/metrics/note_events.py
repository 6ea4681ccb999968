"""Note events from note activations, as basic-pitch decides on them.

Activations (T, 88) have 86.13 frames per second; column k is MIDI pitch 21 + k. Nothing but scipy is needed.
"""

import numpy as np

LOWEST_MIDI = 21
FRAME_THRESHOLD = 0.3  # of activations: basic-pitch's default
ONSET_THRESHOLD = 0.5  # basic-pitch's default
MIN_NOTE_FRAMES = 11  # 128 ms


def note_events(notes: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Note events (n, 3) from activations of notes and onsets (T, 88): first frame, end frame, MIDI pitch.

    basic-pitch's procedure without its last, onset-less pass: peaks of the onset activation (raised by sudden
    rises of the note activation), taken from the end backwards, are followed until the note activation has
    stayed under its threshold for 11 frames; what was followed is used up.
    """
    from scipy.signal import argrelmax  # half a second to import

    nothing = np.zeros((0, 3), np.int64)
    if len(notes) < 3 or not notes.any():
        return nothing
    rise = np.minimum(*(notes - np.pad(notes, ((n, 0), (0, 0)))[:-n] for n in (1, 2)))
    rise = np.maximum(rise, 0)
    rise[:2] = 0
    onsets = np.maximum(onsets, rise * onsets.max() / max(rise.max(), 1e-9))
    left, energy, found = len(notes), notes.copy(), []
    times, keys = argrelmax(onsets, axis=0)
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
    return np.array(sorted(found)) if found else nothing
