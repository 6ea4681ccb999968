"""Sizes and options of a WaveNet, and what follows from them: codes, dilations, receptive fields."""

from dataclasses import asdict, dataclass

from retimbre.errors import RetimbreError

CODES = 256  # classes of the 8-bit mu-law code
SILENCE = 128  # the code of a zero sample
PCM_CODES = 65536  # steps of 16-bit audio, the grid of a mixture of logistics
SEGMENTS_PER_FRAME = 4  # the conditioning changes four times a frame
CONTEXT_FRAMES = 3  # frames either side that the two conditioning convolutions (5 and 3 wide) look at
CHOICES = {
    "kernel": (2, 3),
    "input": ("codes", "scalar"),
    "output": ("softmax", "mol"),
    "upsampling": ("nearest", "linear", "transposed"),
}
# Inclusive; None: no upper limit.
RANGES = {
    "feature_bins": (1, None),
    "n_domains": (1, None),
    "layers": (1, None),
    "layers_per_stack": (1, 15),
    "residual_channels": (4, None),
    "skip_channels": (1, None),
    "conditioning_channels": (1, None),
    "mixtures": (1, None),
    "context_layers": (0, 14),
    "context_channels": (1, None),
}


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes and options of a WaveNet. Raises RetimbreError when the parts cannot work together.

    ``input``: "codes" (one-hot: a row of an embedding per code) or "scalar" (the companded amplitude times
    one row). ``output``: "softmax" over 256 mu-law codes or "mol", a mixture of ``mixtures`` logistics on
    the grid of 16-bit audio. ``upsampling``: how conditioning goes from frames to segments.
    ``context_layers`` above 0 adds a context stack.
    """

    feature_bins: int
    hop_length: int  # samples between two feature frames
    n_domains: int
    layers: int = 10
    layers_per_stack: int = 10  # dilations 1, 2, 4 ... then again from 1
    kernel: int = 2
    residual_channels: int = 32
    skip_channels: int = 64
    conditioning_channels: int = 96
    input: str = "codes"
    output: str = "softmax"
    mixtures: int = 10
    upsampling: str = "linear"
    context_layers: int = 0  # dilations 1, 2, 4 ... in segments
    context_channels: int = 16

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise RetimbreError(
                    f"a WaveNet's {name} must be {' or '.join(map(str, allowed))}, not {value}."
                )
        for name, (least, most) in RANGES.items():
            if (value := getattr(self, name)) < least:
                raise RetimbreError(f"a WaveNet's {name} must be at least {least}, not {value}.")
            if most is not None and value > most:
                raise RetimbreError(f"a WaveNet's {name} must be at most {most}, not {value}.")
        if self.output == "mol" and self.input != "scalar":
            raise RetimbreError(
                "a WaveNet's output mol needs the input scalar: 65536 codes have no embedding."
            )
        if self.hop_length < SEGMENTS_PER_FRAME or self.hop_length % SEGMENTS_PER_FRAME:
            allowed = f"a multiple of {SEGMENTS_PER_FRAME}"
            raise RetimbreError(
                f"features.hop_length must be {allowed} for a WaveNet, not {self.hop_length}."
            )

    @property
    def codes(self) -> int:
        """Number of values that a sample can take."""
        return PCM_CODES if self.output == "mol" else CODES

    @property
    def silence(self) -> int:
        """The code of a zero sample."""
        return self.codes // 2

    @property
    def outputs(self) -> int:
        """Numbers that the head gives per sample: logits, or a mixture's weights, means and log scales."""
        return 3 * self.mixtures if self.output == "mol" else CODES

    @property
    def hold_length(self) -> int:
        """Samples that one conditioning segment is held for."""
        return self.hop_length // SEGMENTS_PER_FRAME

    @property
    def dilations(self) -> tuple[int, ...]:
        return tuple(2 ** (layer % self.layers_per_stack) for layer in range(self.layers))

    @property
    def context_segments(self) -> int:
        """Segments of the past that the context stack sees; 0 without one."""
        return 2**self.context_layers if self.context_layers else 0

    def receptive_field(self) -> int:
        """Number of previous codes that an output depends on (1024 for ten layers of kernel 2).

        With a context stack that of the samples that see furthest: the oldest output of the first layer
        that they depend on is the last of its segment, and was conditioned on the segments before.
        """
        own = 1 + (self.kernel - 1) * sum(self.dilations)
        if not self.context_layers:
            return own
        later_layers = (self.kernel - 1) * sum(self.dilations[1:])
        return max(own, later_layers + (self.context_segments + 1) * self.hold_length)

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)
