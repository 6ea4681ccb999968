"""The instrument classifier: a small 2-D convolutional network on log-magnitude spectra.

Shapes: B batch, F frequency bins, T frames. Input in dB, output logits.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from retimbre.nn.weights import read_config, save_weights, with_weights, write_config

DB_PER_UNIT = 15.0  # about one standard deviation of levelled music in dB
LEVEL_MAP_CHANNELS = 128


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed to rebuild the network; ``classes`` are its outputs in order."""

    classes: tuple[str, ...]
    channels: int  # of the first layer; doubled twice
    top_db: float  # input is clipped to [top_db - range_db, top_db] ...
    range_db: float  # ... so that what no one hears decides nothing

    def to_dict(self) -> dict:
        return asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict) -> "ClassifierConfig":
        return cls(**{**values, "classes": tuple(values["classes"])})


class SpectrumClassifier(nn.Module):
    """dB (B, F, T) -> logits (B, classes); any F of at least 8 and T of at least 8.

    Three strided convolutions, the mean over time of four broad bands of frequency, one linear layer.
    The window's mean level is taken away first: loudness must not tell instruments apart.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        c = config.channels
        self.body = nn.Sequential(
            nn.Conv2d(1, c, 5, 2, 2, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, C, F/2, T/2)
            nn.Conv2d(c, 2 * c, 5, 2, 2, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(),  # (B, 2C, F/4, T/4)
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1, bias=False),
            nn.BatchNorm2d(4 * c), nn.ReLU(),  # (B, 4C, F/8, T/8)
            nn.AdaptiveAvgPool2d((4, 1)),  # (B, 4C, 4, 1)
            nn.Flatten(),  # (B, 16C)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(16 * c, len(config.classes)))

    def levelled(self, db: Tensor) -> Tensor:
        """Input of the body, (B, F, T) -> (B, 1, F, T): within the range, about its mean level."""
        x = db.clamp(self.config.top_db - self.config.range_db, self.config.top_db)
        return ((x - x.mean(dim=(1, 2), keepdim=True)) / DB_PER_UNIT)[:, None]

    def embed(self, db: Tensor) -> Tensor:
        """Penultimate layer, (B, F, T) -> (B, 16 * channels): the embedding of distribution distances."""
        return self.body(self.levelled(db))

    def forward(self, db: Tensor) -> Tensor:
        return self.head(self.embed(db))


class LevelMap(nn.Module):
    """Levels of one representation to levels of another on the same frames: dB (B, F, T) -> dB (B, F', T).

    A stand-in for what a vocoder does to a spectrum: it guesses what the input does not have (fine
    structure, the highest band) from what recordings are like, and blurs what it cannot know.
    """

    def __init__(self, bins: int, bins_out: int):
        super().__init__()
        c = LEVEL_MAP_CHANNELS
        self.body = nn.Sequential(
            nn.Conv1d(bins, c, 5, padding=2, padding_mode="replicate"), nn.GELU(),
            nn.Conv1d(c, c, 5, padding=2, padding_mode="replicate"), nn.GELU(),
            nn.Conv1d(c, bins_out, 1),
        )  # fmt: skip

    def forward(self, db: Tensor) -> Tensor:
        return DB_PER_UNIT * self.body(db / DB_PER_UNIT)


@torch.no_grad()
def probabilities(network: SpectrumClassifier, windows: Tensor, batch_size: int = 256) -> Tensor:
    """Class probabilities (B, classes) of windows (B, F, T) in dB, on the CPU; leaves evaluation mode on."""
    network.eval()
    device = next(network.parameters()).device
    parts = [network(part.float().to(device)).softmax(dim=1).cpu() for part in windows.split(batch_size)]
    return torch.cat(parts) if parts else torch.zeros(0, len(network.config.classes))


def save_networks(folder: Path, networks: dict[str, SpectrumClassifier], description: dict) -> None:
    """Write ``<name>.safetensors`` of each network, and ``description`` with the networks' configurations."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        save_weights(folder / f"{name}.safetensors", network)
    shapes = {name: network.config.to_dict() for name, network in networks.items()}
    write_config(folder, description | {"networks": shapes})


def load_networks(folder: Path) -> tuple[dict[str, SpectrumClassifier], dict]:
    """The networks (evaluation mode, CPU) and the description that :func:`save_networks` wrote."""
    config, networks = read_config(folder), {}
    for name, values in config["networks"].items():
        network = SpectrumClassifier(ClassifierConfig.from_dict(values))
        networks[name] = with_weights(network, folder / f"{name}.safetensors")
    return networks, config
