"""The generation loop in plain torch, on any device: the reference that the kernels are checked against."""

from dataclasses import fields

import torch
from torch import Tensor

from retimbre.nn.generation.job import Job
from retimbre.nn.generation.weights import PackedWeights
from retimbre.nn.wavenet import mixture


class EagerStep:
    """One sample for B streams with cached states (Le Paine et al. 2016, "Fast Wavenet Generation").

    A step this small is bound by the number of operations, so: the past taps of all layers are one batched
    product, the skip sum is one product, and sigmoid(v) = (1 + tanh(v / 2)) / 2 makes the gate one tanh and
    one multiply-add (the factors are in the weights). What remains in the loop over layers are five
    operations into buffers that are made once.
    """

    def __init__(self, packed: PackedWeights, device: torch.device):
        tensors = {f.name: getattr(packed, f.name) for f in fields(packed)}
        moved = {name: value.to(device) for name, value in tensors.items() if isinstance(value, Tensor)}
        L, R = packed.layers, packed.residual_channels
        past_rows = (packed.kernel - 1) * R
        self.packed, self.device = packed, device
        self.embedding = moved["embedding"]
        self.halves = torch.ones(2 * R, device=device)
        self.halves[R:] = 0.5  # of the columns whose sigmoid is taken
        self.past = (moved["gate"][:, :past_rows] * self.halves).contiguous()  # L, (K - 1) R, 2 R
        self.now = list(moved["gate"][:, past_rows:] * self.halves)
        self.residual = list(moved["output"][..., :R] * 0.5)
        self.residual_bias = list(moved["output_bias"])
        self.skip = moved["output"][..., R:].reshape(L * R, -1) * 0.5
        self.skip_bias = moved["skip_bias"]
        self.hidden, self.hidden_bias = moved["hidden"], moved["hidden_bias"]
        self.head, self.head_bias = moved["head"], moved["head_bias"]
        dilations = torch.from_numpy(packed.dilations).to(device)
        self.offsets = torch.from_numpy(packed.offsets[:-1]).to(device)
        self.masks = (packed.kernel - 1) * dilations - 1  # ring sizes are powers of two
        self.lags = torch.stack([k * dilations for k in range(packed.kernel - 1, 0, -1)], 1)  # L, K - 1
        self.streams = 0

    def _make_buffers(self, B: int) -> None:
        L, R = self.packed.layers, self.packed.residual_channels
        self.streams = B
        self.x = torch.zeros(L, B, R, device=self.device)  # inputs of the layers
        self.h = torch.zeros(L, B, 2 * R, device=self.device)
        self.gated = torch.zeros(B, L * R, device=self.device)
        self.t = torch.zeros(B, 2 * R, device=self.device)
        g = self.gated.split(R, 1)
        self.views = list(zip(self.x, self.h, g, self.now, self.residual, self.residual_bias, strict=True))

    def __call__(self, code: Tensor, time: Tensor, conditioning: Tensor, ring: Tensor) -> Tensor:
        """code (B,), time (), conditioning (B, L, 2 R) times ``halves``, ring (B, rows, R), which is updated
        -> outputs of the head (B, O)."""
        L, B = self.packed.layers, code.shape[0]
        if self.streams != B:
            self._make_buffers(B)
        read = self.offsets[:, None] + ((time - self.lags) & self.masks[:, None])  # L, K - 1
        past = ring.index_select(1, read.flatten()).view(B, L, -1).transpose(0, 1)  # L, B, (K - 1) R
        torch.baddbmm(conditioning.transpose(0, 1), past, self.past, out=self.h)
        filtered, gate = self.t.chunk(2, 1)
        torch.index_select(self.embedding, 0, code, out=self.x[0])
        for layer, (x, h, g, now, residual, bias) in enumerate(self.views):
            torch.tanh(h.addmm_(x, now), out=self.t)
            torch.addcmul(filtered, filtered, gate, out=g)  # 2 tanh(f) sigmoid(v)
            if layer < L - 1:
                following = torch.add(bias, x, alpha=self.packed.residual_scale, out=self.x[layer + 1])
                following.addmm_(g, residual)
        ring.index_copy_(1, self.offsets + (time & self.masks), self.x.transpose(0, 1))
        skip = torch.addmm(self.skip_bias, self.gated, self.skip).relu_()
        hidden = torch.addmm(self.hidden_bias, skip, self.hidden).relu_()
        return torch.addmm(self.head_bias, hidden, self.head)

    def draw(self, outputs: Tensor, inverse_temperature: float | Tensor, uniforms: Tensor) -> Tensor:
        """Outputs of the head (B, O) -> codes (B,)."""
        return (mixture.draw if self.packed.mixtures else pick)(outputs, inverse_temperature, uniforms)


def pick(logits: Tensor, inverse_temperature: float | Tensor, uniforms: Tensor) -> Tensor:
    """Inverse-CDF sampling of logits (B, 256) with given uniforms (B,) -> codes (B,)."""
    p = torch.exp((logits - logits.amax(-1, keepdim=True)) * inverse_temperature)
    below = p.cumsum(-1)
    return (below[:, :-1] <= (uniforms * p.sum(-1))[:, None]).sum(-1)


@torch.no_grad()
def run_job(step: EagerStep, job: Job) -> None:
    """Advance all streams, in place; the loop runs on the step's device."""
    device = step.device
    ring, current, uniforms, forced = (
        torch.from_numpy(array).to(device) for array in (job.ring, job.code, job.uniforms, job.forced)
    )
    forced = forced.to(torch.int64)
    conditioning = torch.from_numpy(job.conditioning).to(device) * step.halves
    drawn = torch.empty(job.codes.shape, dtype=torch.int64, device=device)
    times = torch.arange(job.position, job.position + job.codes.shape[1], device=device)
    logits = torch.from_numpy(job.logits)
    for i in range(job.codes.shape[1]):
        segment = (job.position + i) // job.hold_length - job.first_segment
        z = step(current, times[i], conditioning[:, segment], ring)
        current = step.draw(z, job.inverse_temperature, uniforms[:, i])
        drawn[:, i] = current
        if logits.shape[1]:
            logits[:, i] = z
        if forced.shape[1]:
            current = forced[:, i]
    job.codes[:] = drawn.cpu().numpy()
    job.code[:] = current.cpu().numpy()
    job.ring[:] = ring.cpu().numpy()
