"""Audio that arrives in blocks: resampled, cut anew."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr


def resample_blocks(blocks: Iterable[np.ndarray], rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    """Resample float32 blocks (N,) or (N, channels) from ``rate_in`` to ``rate_out`` Hz as they come.

    The blocks may have any lengths; together they are what one call on the joined audio returns.
    Memory does not grow with the number of blocks.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    stream = None
    for block in blocks:
        shape = block.shape[1:]
        stream = stream or soxr.ResampleStream(rate_in, rate_out, *(shape or [1]), "float32", "HQ")
        if len(out := stream.resample_chunk(np.ascontiguousarray(block, np.float32))):
            yield out
    if stream and len(out := stream.resample_chunk(np.zeros((0, *shape), np.float32), last=True)):
        yield out


def even(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Blocks (n, ...) cut anew: of ``size`` samples, the last one of what is left."""
    parts, count = [], 0
    for block in blocks:
        parts.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(parts)
            yield from (joined[start : start + size] for start in range(0, count - size + 1, size))
            parts = [joined[count // size * size :]]
            count %= size
    if count:
        yield np.concatenate(parts)
