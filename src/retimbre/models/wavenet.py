"""WaveNet: a causal network that predicts the next 8-bit mu-law code of a waveform, conditioned on frames and a domain.

After van den Oord et al. 2016 ("WaveNet: A Generative Model for Raw Audio": dilated causal stacks, gated units, residual
and skip connections, local and global conditioning) with the conditioning at frame rate of Engel et al. 2017 and
Mor et al. 2018. Axis letters: B batch, F feature bins, T frames, N samples, M conditioning segments, H conditioning
channels, L layers, K kernel, R residual channels, S skip channels.

Generation with cached states is in ``retimbre.models.generation``.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.errors import RetimbreError

CODES = 256  # classes of the 8-bit mu-law code
SILENCE = 128  # the code of a zero sample
SEGMENTS_PER_FRAME = 4  # the conditioning changes four times a frame
CONTEXT_FRAMES = 3  # frames either side that the two conditioning convolutions (5 and 3 wide) look at


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes of a WaveNet. Raises RetimbreError when they cannot work together."""

    feature_bins: int
    hop_length: int  # samples between two feature frames
    n_domains: int
    layers: int = 10
    layers_per_stack: int = 10  # dilations 1, 2, 4 ... then again from 1
    kernel: int = 2
    residual_channels: int = 32
    skip_channels: int = 64
    conditioning_channels: int = 96

    def __post_init__(self):
        for name in ("layers", "layers_per_stack", "residual_channels", "skip_channels", "conditioning_channels"):
            if getattr(self, name) < 1:
                raise RetimbreError(f"vocoder.wavenet_{name} must be at least 1, not {getattr(self, name)}.")
        if self.kernel not in (2, 3):
            raise RetimbreError(f"vocoder.wavenet_kernel must be 2 or 3, not {self.kernel}.")
        if self.layers_per_stack > 14:
            raise RetimbreError(f"vocoder.wavenet_layers_per_stack must be at most 14, not {self.layers_per_stack}.")
        if self.residual_channels < 4:
            raise RetimbreError(f"vocoder.wavenet_residual_channels must be at least 4, not {self.residual_channels}.")
        if self.hop_length < SEGMENTS_PER_FRAME or self.hop_length % SEGMENTS_PER_FRAME:
            raise RetimbreError(f"features.hop_length must be a multiple of {SEGMENTS_PER_FRAME} for the WaveNet, not {self.hop_length}.")
        if self.feature_bins < 1 or self.n_domains < 1:
            raise RetimbreError(f"a WaveNet needs at least one feature bin and one domain, not {self.feature_bins} and {self.n_domains}.")

    @property
    def hold_length(self) -> int:
        """Samples that one conditioning segment is held for."""
        return self.hop_length // SEGMENTS_PER_FRAME

    @property
    def dilations(self) -> tuple[int, ...]:
        return tuple(2 ** (layer % self.layers_per_stack) for layer in range(self.layers))

    def receptive_field(self) -> int:
        """How many previous codes a logit depends on (1024 for ten layers of kernel 2)."""
        return 1 + (self.kernel - 1) * sum(self.dilations)

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


class WaveNet(nn.Module):
    """Logits of the next mu-law code.

    ``mean_db`` and ``std_db`` (F,) normalise the features; they are buffers, so they are saved with the weights and
    inference cannot forget them. ``code_histogram`` (256,) counts of the training codes start the output bias, which
    saves the first steps (7.3 instead of 8 bits on music).
    """

    def __init__(
        self,
        config: WaveNetConfig,
        mean_db: Tensor | None = None,
        std_db: Tensor | None = None,
        code_histogram: Tensor | None = None,
    ):
        super().__init__()
        self.config = config
        L, K, R, S = config.layers, config.kernel, config.residual_channels, config.skip_channels
        H, F = config.conditioning_channels, config.feature_bins
        mean = torch.zeros(F) if mean_db is None else torch.as_tensor(mean_db, dtype=torch.float32)
        std = torch.ones(F) if std_db is None else torch.as_tensor(std_db, dtype=torch.float32)
        if mean.shape != (F,) or std.shape != (F,):
            raise RetimbreError(f"the WaveNet's feature statistics must have {F} values, not {tuple(mean.shape)} and {tuple(std.shape)}.")
        self.register_buffer("feature_mean_db", mean.clone())
        self.register_buffer("feature_std_db", std.clamp(min=1.0 if std_db is not None else 0.0))  # a bin that never moves stays small

        self.conditioning_in = nn.Conv1d(F, H, 5, padding=2)
        self.conditioning_out = nn.Conv1d(H, H, 3, padding=1)
        self.domain_embedding = nn.Embedding(config.n_domains, H)
        self.conditioning_projection = nn.Linear(H, L * 2 * R)  # its bias is the bias of the gates

        self.embedding = nn.Embedding(CODES, R)
        # Input-major matrices, so that every layer is one GEMM on (B N, channels): rows of `gate_weight` are
        # [oldest tap ... newest tap], columns are [filter, gate]; columns of `output_weight` are [residual, skip].
        self.gate_weight = nn.Parameter(torch.randn(L, K * R, 2 * R) / math.sqrt(K * R))
        self.output_weight = nn.Parameter(torch.randn(L, R, R + S) / math.sqrt(R))
        self.output_bias = nn.Parameter(torch.zeros(L, R + S))
        self.head_hidden = nn.Linear(S, S)
        self.head_output = nn.Linear(S, CODES)
        self._start_smooth(code_histogram)

    def _start_smooth(self, code_histogram: Tensor | None) -> None:
        """Neighbouring codes begin alike: embedding and output rows are cosines over the code axis."""
        R, S = self.config.residual_channels, self.config.skip_channels
        level = torch.linspace(-1, 1, CODES)[:, None]  # companded amplitude of each code
        linear = torch.sign(level) * torch.expm1(level.abs() * math.log1p(CODES - 1)) / (CODES - 1)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.cat([2 * level, 6 * linear, _cosines(level, R - 2, 6.0)], 1))
            self.head_output.weight.copy_(_cosines(level, S, 24.0) * (1.5 / math.sqrt(S)))
            self.head_output.bias.zero_()
            self.domain_embedding.weight.mul_(0.3)
            if code_histogram is not None:
                counts = torch.as_tensor(code_histogram, dtype=torch.float32) + 1
                self.head_output.bias.copy_(torch.log(counts / counts.sum()))

    @property
    def residual_scale(self) -> float:
        return math.sqrt(0.5)

    @property
    def skip_scale(self) -> float:
        return 2 / math.sqrt(self.config.layers)

    def receptive_field(self) -> int:
        return self.config.receptive_field()

    def segments(self, features: Tensor, domain: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Conditioning segments ``start:stop`` of features in dB (B, F, T) and domains (B,) -> (B, M, H).

        Segment m lies m / 4 to (m + 1) / 4 frames after frame 0 and takes the linear interpolation at its middle; segments
        after the last frame hold that frame. Only the frames needed are computed, and the result does not depend on the cut.
        """
        T = features.shape[-1]
        stop = SEGMENTS_PER_FRAME * T if stop is None else stop
        position = (torch.arange(start, stop, device=features.device) + 0.5) / SEGMENTS_PER_FRAME
        before = position.long().clamp(max=T - 1)
        weight = (position - before).clamp(max=1.0).to(self.feature_mean_db.dtype)
        after = (before + 1).clamp(max=T - 1)
        first = max(start // SEGMENTS_PER_FRAME - CONTEXT_FRAMES, 0)
        last = min((stop - 1) // SEGMENTS_PER_FRAME + 2 + CONTEXT_FRAMES, T)
        h = (features[..., first:last].to(self.feature_mean_db.dtype) - self.feature_mean_db[:, None]) / self.feature_std_db[:, None]
        h = nnf.gelu(self.conditioning_in(h))
        h = nnf.gelu(self.conditioning_out(h)) + self.domain_embedding(domain)[:, :, None]  # B, H, frames
        h = h[..., before - first] * (1 - weight) + h[..., after - first] * weight  # B, H, M
        return h.transpose(1, 2)

    def forward(self, codes: Tensor, features: Tensor, domain: Tensor) -> Tensor:
        """Teacher-forced logits.

        ``codes`` (B, N) are the codes of the PREVIOUS samples (``shift_right`` makes them), ``features`` (B, F, T) in dB with
        frame t centred on sample t * hop_length and N <= T * hop_length, ``domain`` (B,) indices. Returns (B, N, 256);
        logits[:, n] are those of sample n. Before the first sample there are zeros, as in a fresh generation state.
        """
        c = self.config
        B, N = codes.shape
        check_features(c, features, N)
        M = math.ceil(N / c.hold_length)
        codes = nnf.pad(codes, (0, M * c.hold_length - N), value=SILENCE)
        segment_gates = self.conditioning_projection(self.segments(features, domain, 0, M))
        return self.predict(self.input_rows(codes), segment_gates.view(B, M, c.layers, -1))[:, :N]

    def input_rows(self, codes: Tensor) -> Tensor:
        """The first layer's input for the previous codes (B, N) -> (B, N, R)."""
        return self.embedding(codes)

    def predict(
        self, x: Tensor, segment_gates: Tensor, sample_gates: Callable[[int], Tensor] | None = None, sample_skip: Tensor | None = None
    ) -> Tensor:
        """Layers and head: the first layer's input (B, M * hold, R) and gates per segment (B, M, L, 2 R) -> logits (B, M * hold, 256).

        A network with inputs at sample rate adds them here: to ``x``, to the gates of a layer (``sample_gates(layer)``
        gives (B, M * hold, 2 R)) and to the sum of the skip connections (``sample_skip``, (B, M * hold, S)).
        """
        c = self.config
        B, rows = x.shape[:2]
        L, R, S = c.layers, c.residual_channels, c.skip_channels
        gated = []
        for layer, dilation in enumerate(c.dilations):
            taps = [nnf.pad(x, (0, 0, dilation * k, 0))[:, :rows] for k in range(c.kernel - 1, 0, -1)] + [x]
            h = torch.matmul(torch.cat(taps, -1), self.gate_weight[layer])  # B, rows, 2 R
            # Broadcast over the samples of a segment: conditioning never exists at sample rate.
            h = (h.view(B, -1, c.hold_length, 2 * R) + segment_gates[:, :, layer, None]).view(B, rows, 2 * R)
            if sample_gates is not None:
                h = h + sample_gates(layer)
            filtered, gate = h.split(R, -1)
            g = torch.tanh(filtered) * torch.sigmoid(gate)  # B, rows, R
            gated.append(g)
            if layer < L - 1:  # the last residual output would go nowhere
                update = torch.addmm(self.output_bias[layer, :R], g.reshape(-1, R), self.output_weight[layer, :, :R])
                x = (update.view(B, rows, R) + x) * self.residual_scale
        # The skip connections of all layers are one GEMM: sum_l g_l W_l = [g_1 ... g_L] [W_1; ...; W_L].
        skip = torch.cat(gated, -1).view(-1, L * R)
        skip = torch.addmm(self.output_bias[:, R:].sum(0), skip, self.output_weight[:, :, R:].reshape(L * R, S))
        if sample_skip is not None:
            skip = skip + sample_skip.reshape(-1, S)
        h = self.head_hidden(nnf.relu(skip * self.skip_scale))
        return self.head_output(nnf.relu(h)).view(B, rows, -1)


def shift_right(codes: Tensor, first: int = SILENCE) -> Tensor:
    """Codes (B, N) -> the previous codes (B, N) that ``WaveNet.forward`` is given; ``first`` stands before the first."""
    return nnf.pad(codes[:, :-1], (1, 0), value=first)


def check_features(config: WaveNetConfig, features: Tensor, length: int) -> None:
    """Refuse features (B, F, T) that do not fit the network or do not cover ``length`` samples."""
    if features.dim() != 3 or features.shape[1] != config.feature_bins or features.shape[2] < 1:
        raise RetimbreError(f"the WaveNet needs features of shape (B, {config.feature_bins}, T), not {tuple(features.shape)}.")
    covered = features.shape[2] * config.hop_length
    if not 0 < length <= covered:
        raise RetimbreError(f"{features.shape[2]} feature frames cover 1 to {covered} samples, not {length}.")


def _cosines(level: Tensor, n: int, top: float) -> Tensor:
    """n cosines of 1/4 to top/2 periods over the code axis, unit power: (256, n)."""
    return math.sqrt(2) * torch.cos(level * torch.linspace(0.5, top, n) * math.pi + torch.arange(n) * 2.4)
