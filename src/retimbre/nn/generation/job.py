"""The work of one route: some samples of some streams, as arrays that are read, updated and written."""

from dataclasses import dataclass

import numpy as np

from retimbre.nn.generation.weights import PackedWeights


@dataclass
class Job:
    """n samples of B streams within one block of conditioning; codes are uint8, of a mixture uint16."""

    packed: PackedWeights
    ring: np.ndarray  # (B, rows, R) float32, updated
    code: np.ndarray  # (B,) int64, updated
    position: int  # of the first sample
    conditioning: np.ndarray  # (B, M, L, 2 R) float32
    first_segment: int  # the segment that conditioning[:, 0] belongs to
    hold_length: int  # samples per segment
    uniforms: np.ndarray  # (B, n) float32 in [0, 1)
    inverse_temperature: float
    forced: np.ndarray  # (B, n) codes that are fed back instead of those drawn, or (B, 0): draw freely
    codes: np.ndarray  # (B, n), written
    logits: np.ndarray  # (B, n, O) float32, written, or (B, 0, O)

    def streams(self, start: int, stop: int) -> "Job":
        """The same job for some of the streams; the arrays are views."""
        of_streams = ("ring", "code", "conditioning", "uniforms", "forced", "codes", "logits")
        return Job(**{**self.__dict__, **{name: getattr(self, name)[start:stop] for name in of_streams}})
