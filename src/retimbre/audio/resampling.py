"""Resampling of audio that arrives in blocks."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr


def resample_blocks(blocks: Iterable[np.ndarray], rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    """Resample mono float32 blocks (N,) from ``rate_in`` to ``rate_out`` Hz as they come.

    The blocks may have any lengths; together they are what one call on the joined audio returns.
    Memory does not grow with the number of blocks.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality="HQ")
    for block in blocks:
        if len(out := stream.resample_chunk(np.ascontiguousarray(block, np.float32))):
            yield out
    if len(out := stream.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield out
