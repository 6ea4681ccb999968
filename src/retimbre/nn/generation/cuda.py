"""The eager step on a GPU as one CUDA graph: the host launches one graph per sample instead of some eighty kernels.

The graph replays ``advance``: draw from the logits of ``EagerStep`` with the given uniforms, feed the code back, go on by one sample.
All that differs from sample to sample (position, conditioning segment, uniform, where to write) is found on the device from a
counter, so a replay needs nothing from the host. ``advance`` is plain torch: on a CPU it runs without a graph, which is how
its arithmetic is tested against the eager route.
"""

import torch
from torch import Tensor

from retimbre.nn.generation.eager import EagerStep

CHUNK = 4096  # samples of the buffers; a longer job is run in several rounds


class GraphedStep:
    """``EagerStep`` with fixed buffers for B streams and ``segments`` conditioning segments. Without ``capture`` it runs as it is."""

    def __init__(self, step: EagerStep, ring: Tensor, segments: int):
        B, packed, device = ring.shape[0], step.packed, step.device
        self.step, self.graph = step, None
        self.ring = torch.empty_like(ring, device=device)
        self.code = torch.zeros(B, dtype=torch.int64, device=device)
        self.conditioning = torch.zeros(B, segments, packed.layers, 2 * packed.residual_channels, device=device)
        self.uniforms = torch.zeros(B, CHUNK, device=device)
        self.forced = torch.zeros(B, CHUNK, dtype=torch.int64, device=device)  # -1: draw
        self.codes = torch.zeros(B, CHUNK, dtype=torch.int64, device=device)
        self.inverse_temperature = torch.ones((), device=device)
        self.index = torch.zeros(1, dtype=torch.int64, device=device)  # of the sample within the chunk
        self.position = torch.zeros((), dtype=torch.int64, device=device)  # of the chunk's first sample
        self.first_segment = torch.zeros((), dtype=torch.int64, device=device)
        self.hold_length = torch.ones((), dtype=torch.int64, device=device)
        self.logits = torch.zeros(B, packed.head_bias.shape[0], device=device)

    @torch.no_grad()
    def advance(self) -> None:
        """One sample of every stream; reads and writes the buffers only."""
        time = self.position + self.index[0]
        segment = (time // self.hold_length - self.first_segment).view(1)
        conditioning = self.conditioning.index_select(1, segment)[:, 0]
        self.logits.copy_(self.step(self.code, time, conditioning, self.ring))
        drawn = self.step.draw(self.logits, self.inverse_temperature, self.uniforms.index_select(1, self.index)[:, 0])
        self.codes.index_copy_(1, self.index, drawn[:, None])
        given = self.forced.index_select(1, self.index)[:, 0]
        self.code.copy_(torch.where(given >= 0, given, drawn))
        self.index += 1

    @torch.no_grad()
    def capture(self) -> None:
        """Record ``advance``; its rehearsals move the buffers, which every ``run`` fills anew. Raises RuntimeError where it cannot be."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up in a few runs outside the graph
            for _ in range(3):
                self.advance()
        torch.cuda.current_stream().wait_stream(stream)
        self.index.zero_()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.advance()

    @torch.no_grad()
    def run(
        self,
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
        """Advance all streams by n samples, in place; shapes as in ``sampler.Job``, arrays on the CPU."""
        go_on = self.graph.replay if self.graph is not None else self.advance
        self.ring.copy_(ring)
        self.code.copy_(code)
        self.conditioning[:, : conditioning.shape[1]] = conditioning.to(self.step.device) * self.step.halves
        self.first_segment.fill_(first_segment)
        self.hold_length.fill_(hold_length)
        self.inverse_temperature.fill_(inverse_temperature)
        for start in range(0, codes.shape[1], CHUNK):
            n = min(CHUNK, codes.shape[1] - start)
            self.position.fill_(position + start)
            self.index.zero_()
            self.uniforms[:, :n] = uniforms[:, start : start + n].to(self.step.device)
            self.forced[:, :n] = -1 if forced is None else forced[:, start : start + n].to(self.step.device, torch.int64)
            for i in range(n):
                go_on()
                if logits is not None:
                    logits[:, start + i] = self.logits
            codes[:, start : start + n] = self.codes[:, :n].to("cpu", codes.dtype)
        ring.copy_(self.ring)
        code.copy_(self.code)
