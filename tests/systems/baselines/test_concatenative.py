import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.systems.baselines import params
from retimbre.systems.baselines.concatenative import Concatenative
from tests.toys.tones import CONFIG, tone

HOP = CONFIG.hop_length
SETTINGS = params.Concatenative(unit_s=0.128, neighbours=4, pitch_weight=4.0, continuity=0.5)


def notes(pitches: list[float], slope: float) -> np.ndarray:
    return np.concatenate([tone(hz, 0.4, slope, decay=2) for hz in pitches])


CORPUS = [notes([220, 262, 330, 247, 294, 349], 0.5), notes([392, 440, 277, 233, 311, 370], 0.5)]


@pytest.fixture(scope="module")
def system() -> Concatenative:
    return Concatenative({"reed": CORPUS}, CONFIG, SETTINGS)


def test_a_source_from_the_corpus_finds_itself(system: Concatenative) -> None:
    start = 10 * HOP
    x = CORPUS[1][start : start + 9600]
    y = system.transfer(x, "reed")
    inner = slice(2 * system.unit, len(x) - 2 * system.unit)
    # As a whole it may be moved by a few milliseconds: the first unit, half silence, fits anywhere.
    shifts = range(-64, 65)
    errors = [np.sum((y[inner] - np.roll(x, shift)[inner]) ** 2) / np.sum(x[inner] ** 2) for shift in shifts]
    assert 10 * np.log10(min(errors)) < -30


def test_only_recorded_units_are_played(system: Concatenative) -> None:
    """A chosen unit lies in one recording, and without overlap the output is that piece of it, scaled."""
    x = notes([262, 330, 294], 2.5)
    padded = np.pad(x, (system.step, system.step + -len(x) % system.step))
    chosen, units = system.select(padded, "reed"), system.units["reed"]
    assert len(chosen) == len(padded) // system.step - 1
    for index in chosen:
        start, segment = int(units["start"][index]), int(units["segment"][index])
        assert 0 <= start <= len(CORPUS[segment]) - system.unit
    # One unit for the whole source: what comes out correlates perfectly with a piece of the corpus.
    short = x[: system.unit]
    y = system.convert(np.pad(short, (0, system.unit)), "reed", np.random.default_rng(0))
    middle = y[system.step // 2 : system.step]
    best = 0.0
    for recording in CORPUS:
        windows = np.lib.stride_tricks.sliding_window_view(recording, len(middle))
        norms = np.linalg.norm(windows, axis=1) * np.linalg.norm(middle)
        best = max(best, float((windows @ middle / np.maximum(norms, 1e-9)).max()))
    assert best > 0.9


def test_the_notes_are_those_of_the_source_when_pitch_counts(system: Concatenative) -> None:
    x = notes([330, 233, 392, 262], 3.0)
    units = system.units["reed"]
    tune = np.array([[220, 262, 330, 247, 294, 349], [392, 440, 277, 233, 311, 370]])

    def hit_rate(weight: float) -> float:
        system.settings = SETTINGS.model_copy(update={"pitch_weight": weight})
        chosen = system.select(x, "reed")
        system.settings = SETTINGS
        centres = np.arange(len(chosen)) * system.step + system.unit // 2
        wanted = np.array([330, 233, 392, 262])[np.minimum(centres // 3200, 3)]
        played = tune[
            units["segment"][chosen].numpy(),
            np.minimum((units["start"][chosen].numpy() + system.unit // 2) // 3200, 5),
        ]
        return float(np.mean(wanted == played))

    assert hit_rate(4.0) > 0.85
    assert hit_rate(0.0) < hit_rate(4.0), "MFCCs alone do not hold the notes"


def test_continuity_lengthens_runs(system: Concatenative) -> None:
    x = notes([330, 233, 392, 262], 3.0)

    def leaves(cost: float) -> int:
        system.settings = SETTINGS.model_copy(update={"continuity": cost})
        chosen = system.select(x, "reed")
        system.settings = SETTINGS
        return int(np.sum(np.diff(chosen) != system.half))

    assert leaves(5.0) < leaves(0.0)


def test_the_path_is_the_cheapest(system: Concatenative) -> None:
    """Viterbi against every path, on a source of three units and with all candidates."""
    small = Concatenative(
        {"reed": [CORPUS[0][: 2 * system.unit]]}, CONFIG, SETTINGS.model_copy(update={"neighbours": 99})
    )
    x = notes([262, 330], 2.0)[: 2 * system.unit]
    with torch.no_grad():
        local = small.distances(x, "reed").numpy().astype(np.float64)
        chosen = small.select(x, "reed")

    def cost(path: tuple[int, ...]) -> float:
        return sum(local[j, i] for j, i in enumerate(path)) + 0.5 * sum(
            b != a + small.half for a, b in zip(path, path[1:], strict=False)
        )

    every = min(cost(path) for path in np.ndindex(*[local.shape[1]] * len(local)))
    assert cost(tuple(chosen)) == pytest.approx(every, rel=1e-5)


def test_no_recording_as_long_as_a_unit() -> None:
    with pytest.raises(
        RetimbreError,
        match="no training recording of 'reed' has a unit of .* lower baselines.concatenative.unit_s",
    ):
        Concatenative({"reed": [CORPUS[0][:4000]] * 3}, CONFIG, SETTINGS.model_copy(update={"unit_s": 1.0}))
