"""Sizes and options of a WaveNet, and what follows from them: codes, dilations, receptive fields."""

from dataclasses import asdict, dataclass

from retimbre.errors import RetimbreError

CODES = 256  # classes of the 8-bit mu-law code
SILENCE = 128  # the code of a zero sample
PCM_CODES = 65536  # steps of 16-bit audio, the grid of a mixture of logistics
SEGMENTS_PER_FRAME = 4  # the conditioning changes four times a frame
CONTEXT_FRAMES = 3  # frames either side that the two conditioning convolutions (5 and 3 wide) look at
CHOICES = {"input": ("codes", "scalar"), "output": ("softmax", "mol"), "upsampling": ("nearest", "linear", "transposed")}


@dataclass(frozen=True)
class WaveNetConfig:
    """What a WaveNet is built from. Raises RetimbreError when the parts cannot work together.

    ``input``: "codes" (one-hot: a row of an embedding per code) or "scalar" (the companded amplitude times one row).
    ``output``: "softmax" over 256 mu-law codes or "mol", a mixture of ``mixtures`` logistics on the grid of 16-bit audio.
    ``upsampling``: how conditioning goes from frames to segments. ``context_layers`` above 0 adds a context stack.
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
        channels = ("residual_channels", "skip_channels", "conditioning_channels", "context_channels")
        for name in ("layers", "layers_per_stack", "mixtures", *channels):
            if getattr(self, name) < 1:
                raise RetimbreError(f"vocoder.wavenet_{name} must be at least 1, not {getattr(self, name)}.")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise RetimbreError(f"vocoder.wavenet_{name} must be {' or '.join(allowed)}, not {getattr(self, name)}.")
        if self.kernel not in (2, 3):
            raise RetimbreError(f"vocoder.wavenet_kernel must be 2 or 3, not {self.kernel}.")
        if self.layers_per_stack > 14:
            raise RetimbreError(f"vocoder.wavenet_layers_per_stack must be at most 14, not {self.layers_per_stack}.")
        if not 0 <= self.context_layers <= 14:
            raise RetimbreError(f"vocoder.wavenet_context_layers must be 0 (no context stack) to 14, not {self.context_layers}.")
        if self.residual_channels < 4:
            raise RetimbreError(f"vocoder.wavenet_residual_channels must be at least 4, not {self.residual_channels}.")
        if self.output == "mol" and self.input != "scalar":
            raise RetimbreError("vocoder.wavenet_output mol needs vocoder.wavenet_input scalar: 65536 codes have no embedding.")
        if self.hop_length < SEGMENTS_PER_FRAME or self.hop_length % SEGMENTS_PER_FRAME:
            raise RetimbreError(f"features.hop_length must be a multiple of {SEGMENTS_PER_FRAME} for the WaveNet, not {self.hop_length}.")
        if self.feature_bins < 1 or self.n_domains < 1:
            raise RetimbreError(f"a WaveNet needs at least one feature bin and one domain, not {self.feature_bins} and {self.n_domains}.")

    @property
    def codes(self) -> int:
        """How many values a sample can take."""
        return PCM_CODES if self.output == "mol" else CODES

    @property
    def silence(self) -> int:
        """The code of a zero sample."""
        return self.codes // 2

    @property
    def outputs(self) -> int:
        """Numbers that the head gives per sample: logits of the codes, or weights, means and log scales of the mixture."""
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
        """How many previous codes an output depends on (1024 for ten layers of kernel 2).

        With a context stack that of the samples that see furthest: the oldest output of the first layer that they depend on is the last
        of its segment, and was conditioned on the segments before.
        """
        own = 1 + (self.kernel - 1) * sum(self.dilations)
        if not self.context_layers:
            return own
        return max(own, (self.kernel - 1) * sum(self.dilations[1:]) + (self.context_segments + 1) * self.hold_length)

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)
