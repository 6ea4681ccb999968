"""The generation loop in plain torch, on any device: the reference that the kernels are checked against."""

from dataclasses import fields

import torch
from torch import Tensor

from retimbre.models.generation.weights import PackedWeights


class EagerStep:
    """One sample for B streams with cached states (Le Paine et al. 2016, "Fast Wavenet Generation Algorithm").

    The past taps of all layers are one batched product, and the skip sum is one product; only the L small products that depend on
    each other remain.
    """

    def __init__(self, packed: PackedWeights, device: torch.device):
        moved = {f.name: getattr(packed, f.name).to(device) for f in fields(packed) if isinstance(getattr(packed, f.name), Tensor)}
        L, R = packed.layers, packed.residual_channels
        past_rows = (packed.kernel - 1) * R
        self.packed, self.device = packed, device
        self.embedding = moved["embedding"]
        self.past = moved["gate"][:, :past_rows].contiguous()  # L, (K - 1) R, 2 R
        self.now = list(moved["gate"][:, past_rows:])
        self.residual = list(moved["output"][..., :R].contiguous())
        self.residual_bias = list(moved["output_bias"])
        self.skip = moved["output"][..., R:].reshape(L * R, -1)
        self.skip_bias = moved["skip_bias"]
        self.hidden, self.hidden_bias = moved["hidden"], moved["hidden_bias"]
        self.head, self.head_bias = moved["head"], moved["head_bias"]
        dilations = torch.from_numpy(packed.dilations).to(device)
        self.offsets = torch.from_numpy(packed.offsets[:-1]).to(device)
        self.masks = (packed.kernel - 1) * dilations - 1  # ring sizes are powers of two
        self.lags = torch.stack([k * dilations for k in range(packed.kernel - 1, 0, -1)], 1)  # L, K - 1

    def __call__(self, code: Tensor, time: Tensor, conditioning: Tensor, ring: Tensor) -> Tensor:
        """code (B,), time (), conditioning (B, L, 2 R), ring (B, rows, R), which is updated -> logits (B, 256)."""
        L, R, B = len(self.now), self.packed.residual_channels, code.shape[0]
        read = self.offsets[:, None] + ((time - self.lags) & self.masks[:, None])  # L, K - 1
        past = ring.index_select(1, read.flatten()).view(B, L, -1).transpose(0, 1)  # L, B, (K - 1) R
        h_past = torch.baddbmm(conditioning.transpose(0, 1), past, self.past)  # L, B, 2 R
        x = self.embedding.index_select(0, code)  # B, R
        inputs, gated = [], []
        for layer in range(L):
            inputs.append(x)
            h = torch.addmm(h_past[layer], x, self.now[layer])
            g = torch.tanh(h[:, :R]) * torch.sigmoid(h[:, R:])
            gated.append(g)
            if layer < L - 1:
                x = torch.addmm(self.residual_bias[layer], g, self.residual[layer]).add_(x, alpha=self.packed.residual_scale)
        ring.index_copy_(1, self.offsets + (time & self.masks), torch.stack(inputs, 1))
        skip = torch.addmm(self.skip_bias, torch.cat(gated, 1), self.skip).relu_()
        return torch.addmm(self.head_bias, torch.addmm(self.hidden_bias, skip, self.hidden).relu_(), self.head)


def pick(logits: Tensor, inverse_temperature: float, uniforms: Tensor) -> Tensor:
    """Inverse-CDF sampling of logits (B, 256) with given uniforms (B,) -> codes (B,)."""
    p = torch.exp((logits - logits.amax(-1, keepdim=True)) * inverse_temperature)
    below = p.cumsum(-1)
    return (below[:, :-1] <= (uniforms * p.sum(-1))[:, None]).sum(-1)


@torch.no_grad()
def run(
    step: EagerStep,
    ring: Tensor,
    code: Tensor,
    position: int,
    conditioning: Tensor,
    first_segment: int,
    hold_length: int,
    uniforms: Tensor,
    inverse_temperature: float,
    forced: Tensor | None,
    codes: Tensor,
    logits: Tensor | None,
) -> None:
    """Advance all streams by n samples, in place; shapes as in ``sampler.Job``. Arrays live on the CPU, the loop on the step's device."""
    device = step.device
    working_ring, current = ring.to(device), code.to(device)
    conditioning, uniforms = conditioning.to(device), uniforms.to(device)
    forced = None if forced is None else forced.to(device, torch.int64)
    drawn = torch.empty(codes.shape, dtype=codes.dtype, device=device)
    times = torch.arange(position, position + codes.shape[1], device=device)
    for i in range(codes.shape[1]):
        segment = (position + i) // hold_length - first_segment
        z = step(current, times[i], conditioning[:, segment], working_ring)
        current = pick(z, inverse_temperature, uniforms[:, i])
        drawn[:, i] = current
        if logits is not None:
            logits[:, i] = z
        if forced is not None:
            current = forced[:, i]
    codes.copy_(drawn)
    code.copy_(current)
    if device.type != "cpu":
        ring.copy_(working_ring)
