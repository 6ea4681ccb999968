"""WaveNet: a causal network that predicts the next sample of a waveform, conditioned on frames and a domain.

After van den Oord et al. 2016 ("WaveNet: A Generative Model for Raw Audio": dilated causal stacks, gated
units, residual and skip connections, local and global conditioning) with the conditioning at frame rate of
Engel et al. 2017 and Mor et al. 2018. Axis letters: B batch, F feature bins, T frames, N samples, M
conditioning segments, H conditioning channels, L layers, K kernel, R residual channels, S skip channels, O
outputs of the head.

Generation with cached states is in ``retimbre.nn.generation``.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.audio.companding import pcm_decode
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet import mixture, upsampling
from retimbre.nn.wavenet.context_stack import ContextStack
from retimbre.nn.wavenet.options import CODES, CONTEXT_FRAMES, SEGMENTS_PER_FRAME, SILENCE, WaveNetConfig

if TYPE_CHECKING:
    from retimbre.datasets.packed.format import PackedFeatures


class GatedLayers(nn.Module):
    """Gated layers with residual and skip connections, and the head: what every WaveNet here has.

    Subclasses make their conditioning, and call ``_make_layers`` and ``start_head``.
    """

    config: WaveNetConfig

    def _make_layers(self) -> None:
        """Input-major matrices, so that every layer is one GEMM on (B N, channels): rows of ``gate_weight``
        are [oldest tap ... newest tap], columns are [filter, gate]; columns of ``output_weight`` are
        [residual, skip].
        """
        c = self.config
        L, K, R, S = c.layers, c.kernel, c.residual_channels, c.skip_channels
        self.gate_weight = nn.Parameter(torch.randn(L, K * R, 2 * R) / math.sqrt(K * R))
        self.output_weight = nn.Parameter(torch.randn(L, R, R + S) / math.sqrt(R))
        self.output_bias = nn.Parameter(torch.zeros(L, R + S))
        self.head_hidden = nn.Linear(S, S)
        self.head_output = nn.Linear(S, c.outputs)

    @torch.no_grad()
    def start_head(self, code_histogram: Tensor | None) -> None:
        """Neighbouring codes begin alike, and as often as ``code_histogram`` (256,) counts them."""
        if self.config.output == "mol":
            self.head_output.weight.mul_(0.1)
            self.head_output.bias.copy_(mixture.start(code_histogram, self.config.mixtures))
            return
        S, a = self.config.skip_channels, torch.linspace(-1, 1, CODES)[:, None]  # companded amplitudes
        self.head_output.weight.copy_(_cosines(a, S, 24.0) * (1.5 / math.sqrt(S)))
        self.head_output.bias.zero_()
        if code_histogram is not None:
            counts = torch.as_tensor(code_histogram, dtype=torch.float32) + 1
            self.head_output.bias.copy_(torch.log(counts / counts.sum()))

    @property
    def residual_scale(self) -> float:
        return math.sqrt(0.5)

    @property
    def skip_scale(self) -> float:
        return 2 / math.sqrt(self.config.layers)

    def amplitudes(self, codes: Tensor) -> Tensor:
        """Companded amplitudes -1..1 of codes."""
        if self.config.output == "softmax":
            return codes.float() * (2 / (CODES - 1)) - 1
        value = pcm_decode(codes)
        return torch.sign(value) * torch.log1p(value.abs() * (CODES - 1)) / math.log(CODES)

    def predict(
        self,
        x: Tensor,
        segment_gates: Tensor,
        sample_skip: Tensor | None = None,
        segment_hidden: Tensor | None = None,
    ) -> Tensor:
        """Layers and head: inputs (B, M * hold, R) of the first, gates (B, M, L, 2 R) -> (B, M * hold, O).

        A network with inputs at sample rate adds them here: to ``x`` and to the sum of the skip connections
        (``sample_skip``, (B, M * hold, S)); one whose head is conditioned adds ``segment_hidden`` (B, M, S).
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
            filtered, gate = h.split(R, -1)
            g = torch.tanh(filtered) * torch.sigmoid(gate)  # B, rows, R
            gated.append(g)
            if layer < L - 1:  # the last residual output would go nowhere
                weight, bias = self.output_weight[layer, :, :R], self.output_bias[layer, :R]
                update = torch.addmm(bias, g.reshape(-1, R), weight)
                x = (update.view(B, rows, R) + x) * self.residual_scale
        # The skip connections of all layers are one GEMM: sum_l g_l W_l = [g_1 ... g_L] [W_1; ...; W_L].
        skip = torch.cat(gated, -1).view(-1, L * R)
        weight, bias = self.output_weight[:, :, R:].reshape(L * R, S), self.output_bias[:, R:].sum(0)
        skip = torch.addmm(bias, skip, weight)
        if sample_skip is not None:
            skip = skip + sample_skip.reshape(-1, S)
        h = self.head_hidden(nnf.relu(skip * self.skip_scale))
        if segment_hidden is not None:
            h = (h.view(B, -1, c.hold_length, S) + segment_hidden[:, :, None]).view(-1, S)
        return self.head_output(nnf.relu(h)).view(B, rows, -1)


class WaveNet(GatedLayers):
    """Distribution of the next sample: logits of its mu-law code, or parameters of a mixture of logistics.

    ``mean_db`` and ``std_db`` (F,) normalise the features; they are buffers, so they are saved with the
    weights and inference cannot forget them. ``code_histogram`` (256,) counts of the training codes start
    the output bias, which saves the first steps (7.3 instead of 8 bits on music).
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
        L, R = config.layers, config.residual_channels
        H, F = config.conditioning_channels, config.feature_bins
        mean = torch.zeros(F) if mean_db is None else torch.as_tensor(mean_db, dtype=torch.float32)
        std = torch.ones(F) if std_db is None else torch.as_tensor(std_db, dtype=torch.float32)
        if mean.shape != (F,) or std.shape != (F,):
            shapes = f"{tuple(mean.shape)} and {tuple(std.shape)}"
            raise RetimbreError(f"the WaveNet's feature statistics must have {F} values, not {shapes}.")
        self.register_buffer("feature_mean_db", mean.clone())
        self.register_buffer("feature_std_db", std.clamp(min=1.0))  # a bin that never moves stays small

        self.conditioning_in = nn.Conv1d(F, H, 5, padding=2)
        self.conditioning_out = nn.Conv1d(H, H, 3, padding=1)
        self.domain_embedding = nn.Embedding(config.n_domains, H)
        self.conditioning_projection = nn.Linear(H, L * 2 * R)  # its bias is the bias of the gates

        # From the code of the last sample to the first layer: a row each, or the companded amplitude times
        # one row.
        if config.input == "codes":
            self.embedding = nn.Embedding(CODES, R)
        else:
            self.amplitude = nn.Linear(1, R)
        self._make_layers()
        self._start_smooth(code_histogram)
        if config.upsampling == "transposed":
            self.upsampling = upsampling.Transposed(H)
        else:
            self.upsampling = {"linear": upsampling.linear, "nearest": upsampling.nearest}[config.upsampling]
        self.context = None
        if config.context_layers:
            sizes = config.hold_length, config.context_layers, config.context_channels
            self.context = ContextStack(*sizes, H)

    def _start_smooth(self, code_histogram: Tensor | None) -> None:
        """Neighbouring codes begin alike: embedding and output rows are cosines over the code axis."""
        a = torch.linspace(-1, 1, CODES)[:, None]  # companded amplitude of each code
        linear = torch.sign(a) * torch.expm1(a.abs() * math.log1p(CODES - 1)) / (CODES - 1)
        with torch.no_grad():
            self.domain_embedding.weight.mul_(0.3)
            if self.config.input == "codes":
                cosines = _cosines(a, self.config.residual_channels - 2, 6.0)
                self.embedding.weight.copy_(torch.cat([2 * a, 6 * linear, cosines], 1))
        self.start_head(code_histogram)

    def segments(self, features: Tensor, domain: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Conditioning segments ``start:stop`` of features in dB (B, F, T) and domains (B,) -> (B, M, H).

        Segment m lies m / 4 to (m + 1) / 4 frames after frame 0; how it is made from the frames around it:
        ``upsampling``. Only the frames needed are computed, and the result does not depend on the
        cut. A context stack is not part of it.
        """
        T = features.shape[-1]
        stop = SEGMENTS_PER_FRAME * T if stop is None else stop
        first = max(start // SEGMENTS_PER_FRAME - CONTEXT_FRAMES, 0)
        last = min((stop - 1) // SEGMENTS_PER_FRAME + 2 + CONTEXT_FRAMES, T)
        mean, std = self.feature_mean_db[:, None], self.feature_std_db[:, None]
        h = (features[..., first:last].to(mean.dtype) - mean) / std
        h = nnf.gelu(self.conditioning_in(h))
        h = nnf.gelu(self.conditioning_out(h)) + self.domain_embedding(domain)[:, :, None]  # B, H, frames
        return self.upsampling(h, start, stop, first, T).transpose(1, 2)  # B, M, H

    def context_of(self, codes: Tensor) -> Tensor:
        """The context stack's share of the conditioning after segments of codes (B, M hold): (B, M, H)."""
        return self.context(self.amplitudes(codes).view(codes.shape[0], -1, self.config.hold_length))

    def forward(self, codes: Tensor, features: Tensor, domain: Tensor) -> Tensor:
        """Teacher-forced outputs: logits of 256 codes, or the mixture's parameters (``config.outputs`` O).

        ``codes`` (B, N) are the codes of the PREVIOUS samples (``shift_right`` makes them), ``features``
        (B, F, T) in dB with frame t centred on sample t * hop_length and N <= T * hop_length, ``domain``
        (B,) indices. Returns (B, N, O); logits[:, n] are those of sample n. Before the first sample there
        are zeros, as in a fresh generation state.
        """
        c = self.config
        B, N = codes.shape
        check_features(c, features, N)
        M = math.ceil(N / c.hold_length)
        codes = nnf.pad(codes, (0, M * c.hold_length - N), value=c.silence)
        h = self.segments(features, domain, 0, M)
        if self.context is not None:  # a segment knows the segments before its own
            past = codes[:, : (M - 1) * c.hold_length]
            h = h + nnf.pad(self.context_of(past), (0, 0, 1, 0)) if M > 1 else h
        segment_gates = self.conditioning_projection(h)
        return self.predict(self.input_rows(codes), segment_gates.view(B, M, c.layers, -1))[:, :N]

    def input_rows(self, codes: Tensor) -> Tensor:
        """The first layer's input for the previous codes (B, N) -> (B, N, R)."""
        if self.config.input == "codes":
            return self.embedding(codes)
        return self.amplitude(self.amplitudes(codes)[..., None])


def mean_and_std(features: "PackedFeatures", representation: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the levels in dB, (F,) each: means over the domains."""
    of_domains = (features.statistics[representation][name] for name in ("mean_db", "std_db"))
    mean, std = (torch.tensor([values[d] for d in features.domains]).mean(0) for values in of_domains)
    return mean, std


def shift_right(codes: Tensor, first: int = SILENCE) -> Tensor:
    """Codes (B, N) -> the previous codes (B, N) that ``WaveNet.forward`` is given.

    ``first`` stands before the first: ``config.silence``.
    """
    return nnf.pad(codes[:, :-1], (1, 0), value=first)


def check_features(config: WaveNetConfig, features: Tensor, length: int) -> None:
    """Refuse features (B, F, T) that do not fit the network or do not cover ``length`` samples."""
    if features.dim() != 3 or features.shape[1] != config.feature_bins or features.shape[2] < 1:
        shape = tuple(features.shape)
        needed = f"(B, {config.feature_bins}, T)"
        raise RetimbreError(f"the WaveNet needs features of shape {needed}, not {shape}.")
    covered = features.shape[2] * config.hop_length
    if not 0 < length <= covered:
        T = features.shape[2]
        raise RetimbreError(f"{T} feature frames cover 1 to {covered} samples, not {length}.")


def likelihoods(network: WaveNet, outputs: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies in nats per sample of ``outputs`` (B, N, O): the own loss, and of mu-law codes.

    ``codes`` (B, N) are those that the outputs predict. The two differ for a mixture of logistics alone,
    whose own grid has 16 bits; the second may be compared between all networks.
    """
    if network.config.output == "softmax":
        loss = nnf.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), codes.reshape(-1))
        return loss, loss
    loss = -mixture.log_mass(outputs, *mixture.pcm_cell(codes)).mean()
    with torch.no_grad():
        return loss, -mixture.log_mass(outputs, *mixture.code_cells(codes)).mean()


def _cosines(amplitude: Tensor, n: int, top: float) -> Tensor:
    """n cosines of 1/4 to top/2 periods over the code axis, unit power: (256, n)."""
    phases = amplitude * torch.linspace(0.5, top, n) * math.pi + torch.arange(n) * 2.4
    return math.sqrt(2) * torch.cos(phases)
