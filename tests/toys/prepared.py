"""Parameters of small prepared data."""

from retimbre.datasets.preparation.params import Audio, Features
from retimbre.section import Machine

AUDIO = dict(sample_rate=16000, rms=0.1, max_excerpt_s=5.0, trim_db=60, shard_mb=512)
FEATURES = dict(
    hop_length=256, cqt_backend="retimbre", cqt_fmin_hz=32.7031956626, cqt_bins=84, cqt_bins_per_octave=12,
    stft_n_fft=1024, mel_bins=80, range_db=60,
)  # fmt: skip
ONE = Machine(jobs=1)


def audio_params(**changes):
    return Audio.model_validate(AUDIO | changes)


def feature_params(**changes):
    return Features.model_validate(FEATURES | changes)
