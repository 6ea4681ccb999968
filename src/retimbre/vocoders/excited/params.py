"""Section ``vocoder.excited``: the training of the WaveNet that hears the inverter's waveform."""

from retimbre.section import Count, Natural, NonNegative, Positive
from retimbre.vocoders.wavenet.params import Size

MARGIN = 320  # samples of the excitation that must be known beyond both ends of a crop


class Params(Size):
    iterations: Natural
    minutes: Positive
    segment_frames: Count
    lambda_spectral: NonNegative

    def least_segment_frames(self, hop_length: int) -> int:
        """Frames that a segment needs for a crop and the excitation beyond both of its ends."""
        return self.crop_frames + 2 * -(-MARGIN // hop_length)
