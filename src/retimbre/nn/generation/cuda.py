"""The eager step on a GPU as one CUDA graph: one launch per sample instead of some eighty kernels.

The graph replays ``advance``: draw from the logits of ``EagerStep`` with the given uniforms, feed the code
back, go on by one sample. All that differs from sample to sample (position, conditioning segment, uniform,
where to write) is found on the device from a counter, so a replay needs nothing from the host. ``advance``
is plain torch: on a CPU it runs without a graph, and is tested so against the eager route.
"""

import torch
from torch import Tensor

from retimbre.nn.generation.eager import EagerStep
from retimbre.nn.generation.job import Job

CHUNK = 4096  # samples of the buffers; a longer job is run in several rounds


class GraphedStep:
    """``EagerStep`` with fixed buffers for B streams and ``segments`` conditioning segments.

    Without ``capture`` it runs as it is.
    """

    def __init__(self, step: EagerStep, streams: int, segments: int):
        B, packed, device = streams, step.packed, step.device
        L, R = packed.layers, packed.residual_channels
        self.step, self.graph = step, None

        def counter(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        self.ring = torch.zeros(B, packed.ring_rows, R, device=device)
        self.code = counter(B)
        self.conditioning = torch.zeros(B, segments, L, 2 * R, device=device)
        self.uniforms = torch.zeros(B, CHUNK, device=device)
        self.forced = counter(B, CHUNK)  # -1: draw
        self.codes = counter(B, CHUNK)
        self.inverse_temperature = torch.ones((), device=device)
        self.index = counter(1)  # of the sample within the chunk
        self.position = counter()  # of the chunk's first sample
        self.first_segment = counter()
        self.hold_length = counter() + 1
        self.logits = torch.zeros(B, packed.head_bias.shape[0], device=device)

    @torch.no_grad()
    def advance(self) -> None:
        """One sample of every stream; reads and writes the buffers only."""
        time = self.position + self.index[0]
        segment = (time // self.hold_length - self.first_segment).view(1)
        conditioning = self.conditioning.index_select(1, segment)[:, 0]
        self.logits.copy_(self.step(self.code, time, conditioning, self.ring))
        uniforms = self.uniforms.index_select(1, self.index)[:, 0]
        drawn = self.step.draw(self.logits, self.inverse_temperature, uniforms)
        self.codes.index_copy_(1, self.index, drawn[:, None])
        given = self.forced.index_select(1, self.index)[:, 0]
        self.code.copy_(torch.where(given >= 0, given, drawn))
        self.index += 1

    @torch.no_grad()
    def capture(self) -> None:
        """Record ``advance``; its rehearsals move the buffers, which every job fills anew.

        Raises RuntimeError where it cannot be recorded.
        """
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
    def run_job(self, job: Job) -> None:
        """Advance all streams, in place."""
        go_on = self.graph.replay if self.graph is not None else self.advance
        uniforms, forced, logits = (torch.from_numpy(a) for a in (job.uniforms, job.forced, job.logits))
        self.ring.copy_(torch.from_numpy(job.ring))
        self.code.copy_(torch.from_numpy(job.code))
        conditioning = torch.from_numpy(job.conditioning).to(self.step.device) * self.step.halves
        self.conditioning[:, : conditioning.shape[1]] = conditioning
        self.first_segment.fill_(job.first_segment)
        self.hold_length.fill_(job.hold_length)
        self.inverse_temperature.fill_(job.inverse_temperature)
        self.forced.fill_(-1)
        for start in range(0, job.codes.shape[1], CHUNK):
            now = slice(start, start + CHUNK)
            n = uniforms[:, now].shape[1]
            self.position.fill_(job.position + start)
            self.index.zero_()
            self.uniforms[:, :n] = uniforms[:, now].to(self.step.device)
            if forced.shape[1]:
                self.forced[:, :n] = forced[:, now].to(self.step.device, torch.int64)
            for i in range(n):
                go_on()
                if logits.shape[1]:
                    logits[:, start + i] = self.logits
            job.codes[:, now] = self.codes[:, :n].cpu().numpy()
        job.ring[:] = self.ring.cpu().numpy()
        job.code[:] = self.code.cpu().numpy()
