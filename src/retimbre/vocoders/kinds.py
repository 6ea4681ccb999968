"""The ways from spectra to audio, and the networks that they need; no network is imported here."""

from dataclasses import dataclass

STARTS_FROM = {  # network -> what its training starts from, below data/
    "inverter": "features",
    "istft": "models/vocoder/inverter",
    "wavenet": "features",
    "excited": "models/vocoder/inverter",
}


def below(network: str) -> str | None:
    """The network that a training starts from; None for one that starts from the features."""
    start = STARTS_FROM[network].rpartition("/")[2]
    return start if start in STARTS_FROM else None


@dataclass(frozen=True)
class Kind:
    """A way from spectra to audio by ``networks``, in the order of training; the last makes the audio.

    ``needs_source``: the source recording; ``needs_domain``: training on the target instrument; ``slow``:
    takes so long that the table hears it on a few pieces only.
    """

    networks: tuple[str, ...]
    needs_source: bool = False
    needs_domain: bool = False
    slow: bool = False


KINDS: dict[str, Kind] = {
    "griffin_lim": Kind(("inverter",)),
    "source_phase": Kind(("inverter",), needs_source=True),
    "istft": Kind(("inverter", "istft")),
    "wavenet": Kind(("wavenet",), needs_domain=True, slow=True),
    "wavenet_excited": Kind(("inverter", "excited"), needs_domain=True),
}
