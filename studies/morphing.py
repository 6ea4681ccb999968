"""Is a morph of NSynth's autoencoder heard to go from one instrument to the other?

``python studies/morphing.py`` after ``dvc repro system@nsynth_autoencoder`` mixes the codes of the two
performances of each test piece, plays the mixture on each instrument, and prints the probability that it is
called the second. The classifiers of the pipeline know recordings up to 8 kHz, of which the network plays
2; so this one is a logistic regression on what the system itself makes of training recordings.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors  # noqa: E402
from retimbre.audio.features import spectrum_of  # noqa: E402
from retimbre.audio.levels import rms  # noqa: E402
from retimbre.classifiers.windows import windows  # noqa: E402
from retimbre.datasets.packed.data import Data  # noqa: E402
from retimbre.evaluation.bench.testset import load_items  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.systems.nsynth_autoencoder.system import System  # noqa: E402
from retimbre.training.devices import set_threads  # noqa: E402
from tools.figures import markdown  # noqa: E402

NAME = "nsynth_autoencoder"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEARNT, HELD_OUT = 16, 8  # recordings of each instrument
HEARD_S, WINDOW_S = 6, 1.0
EDGE = 0.95  # of the network's band, above which resampling fades


class Ear:
    """Hears which of two instruments the system has played."""

    def __init__(self, system: System, data: Data):
        self.system, self.data, self.domains = system, data, data.features.domains[:2]
        config = data.features.config
        self.low = config.frequencies_hz("mel") < EDGE * system.network.config.sample_rate / 2
        self.frames = round(WINDOW_S * config.sample_rate / config.hop_length)
        self.judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        features, labels = zip(*self.replayed("train", LEARNT), strict=True)
        self.judge.fit(np.concatenate(features), np.repeat(labels, [len(x) for x in features]))

    def described(self, audio: np.ndarray) -> np.ndarray:
        """Means, deviations and changes of mel bands (W, 3 F) in windows of audio (N,)."""
        # The level would tell the instrument, too.
        levelled = (audio * (self.data.audio.config["rms"] / max(rms(audio), 1e-9))).astype(np.float32)
        mel_db = spectrum_of(levelled, self.data.features.config, "mel")[self.low]
        x = windows(mel_db.T, self.frames, self.frames // 2).numpy()
        return np.concatenate([x.mean(2), x.std(2), np.abs(np.diff(x)).mean(2)], 1)

    def replayed(self, split: str, count: int) -> Iterator[tuple[np.ndarray, int]]:
        """Descriptions of recordings that the system plays on their own instrument, and its number."""
        for number, domain in enumerate(self.domains):
            excerpts = self.data.audio.excerpts(domain=domain, split=split)
            for place in np.linspace(0, len(excerpts) - 1, count).astype(int):
                audio = self.data.audio.read(excerpts[place])
                audio = audio[: HEARD_S * self.system.sample_rate]
                yield self.described(self.system.transfer(audio, domain)), number

    def second(self, described: np.ndarray) -> float:
        """Mean probability of the second instrument, over windows (W, 3 F)."""
        return float(self.judge.predict_proba(described)[:, 1].mean())


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    set_threads()
    system, data = catalogue.load(NAME), Data()
    if not isinstance(system, System):
        raise errors.RetimbreError(f"{NAME} is its spectral baseline: train with {NAME}.model: wavenet.")
    ear = Ear(system, data)
    first, second = ear.domains
    right = [(ear.second(x) > 0.5) == number for x, number in ear.replayed("validation", HELD_OUT)]
    print(f"of {len(right)} other recordings, played by the system, {np.mean(right):.0%} are called right")
    items = load_items(data.audio, data.features, "cqt", ear.domains)
    items = [item for item in items if item.direction == f"{first}_to_{second}" and item.target is not None]
    rows = []
    for to in ear.domains:
        heard = []
        for item in items:
            ends = [x.audio[: HEARD_S * system.sample_rate] for x in (item.source, item.target)]
            heard.append([ear.second(ear.described(system.morph(*ends, to, share))) for share in SHARES])
        rising = np.mean(np.diff(heard) > 0)
        rows.append([to, *(f"{x:.2f}" for x in np.mean(heard, 0)), f"{rising:.0%}"])
    print(markdown(["played on", *(f"{share:.0%} {second}" for share in SHARES), "steps that rise"], rows))


if __name__ == "__main__":
    errors.run(main)
