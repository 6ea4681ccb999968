"""Discretised mixture of logistics: the distribution of a 16-bit sample.

Salimans et al. 2017 (PixelCNN++), van den Oord et al. 2018 (Parallel WaveNet).

A sample's value v (code k at (k - 32768) / 32768) has the mass that the mixture gives to the cell of width
1 / 32768 around it; the lowest and the highest cell reach to infinity, so the masses add up to one.
Parameters (..., 3 K) are K weights (logits), K means and K log scales. Masses are computed without
cancellation: sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)).

Likelihoods on the 16-bit grid and on 256 mu-law codes are not the same unit. ``log_mass`` with
``code_cells`` gives the mass that the mixture puts into each of the 256 cells: those bits are comparable
with a softmax's.
"""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor

from retimbre.audio.companding import mu_law_encode, pcm_decode
from retimbre.nn.wavenet.options import CODES, PCM_CODES

HALF_STEP = 1 / PCM_CODES  # half the width of a cell
LEAST_LOG_SCALE = -12.0  # a fifth of a 16-bit step: sharper is the same to the grid
LEAST_UNIFORM = 2.0**-24  # of a draw: 16.6 scales from the mean


def split(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(..., 3 K) -> log weights, means and log scales, (..., K) each."""
    weights, means, log_scales = parameters.float().chunk(3, -1)
    return torch.log_softmax(weights, -1), means, log_scales.clamp(min=LEAST_LOG_SCALE)


def log_mass(parameters: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Log of the mass between ``low`` and ``high`` (...), either of which may be infinite: (...)."""
    log_weights, means, log_scales = split(parameters)
    inverse = torch.exp(-log_scales)
    open_low, open_high = torch.isinf(low)[..., None], torch.isinf(high)[..., None]
    a = (torch.where(open_low, 0.0, low[..., None]) - means) * inverse
    b = (torch.where(open_high, 0.0, high[..., None]) - means) * inverse
    width = torch.where(open_low | open_high, 1.0, (high - low)[..., None])
    gap = width * inverse  # b - a, without cancellation
    inside = torch.log(-torch.expm1(-gap))
    mass = torch.where(open_high, 0.0, nnf.logsigmoid(b)) + torch.where(open_low, 0.0, nnf.logsigmoid(-a))
    return torch.logsumexp(log_weights + mass + torch.where(open_low | open_high, 0.0, inside), -1)


def pcm_cell(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Edges of the 16-bit cells of codes 0..65535."""
    value = pcm_decode(codes)
    low = torch.where(codes == 0, -torch.inf, value - HALF_STEP)
    return low, torch.where(codes == PCM_CODES - 1, torch.inf, value + HALF_STEP)


def mu_law_edges() -> Tensor:
    """(257,): between which values each 8-bit mu-law code lies, from minus to plus infinity."""
    f = (2.0 * torch.arange(1, CODES, dtype=torch.float64) - 1) / (CODES - 1) - 1
    edges = torch.sign(f) * torch.expm1(f.abs() * math.log(CODES)) / (CODES - 1)
    return torch.cat([torch.tensor([-torch.inf]), edges, torch.tensor([torch.inf])]).float()


def code_cells(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Edges of the 8-bit mu-law cells in which the values of 16-bit codes lie."""
    edges = mu_law_edges().to(codes.device)
    cell = mu_law_encode(pcm_decode(codes))
    return edges[cell], edges[cell + 1]


def start(histogram: Tensor | None, mixtures: int) -> Tensor:
    """Parameters (3 K,) of a mixture like counts of mu-law codes (256,): components at its quantiles."""
    p = torch.ones(CODES) if histogram is None else torch.as_tensor(histogram, dtype=torch.float32) + 1
    edges = mu_law_edges().clamp(-1.0, 1.0)
    cdf = torch.cat([torch.zeros(1), torch.cumsum(p / p.sum(), 0)])
    at = torch.arange(2 * mixtures + 1) / (2 * mixtures)
    right = torch.searchsorted(cdf, at).clamp(1, CODES)
    share = ((at - cdf[right - 1]) / (cdf[right] - cdf[right - 1])).clamp(0, 1)
    quantiles = edges[right - 1] + share * (edges[right] - edges[right - 1])
    scales = (quantiles[2::2] - quantiles[:-2:2]).clamp(min=8 * HALF_STEP) / 4
    return torch.cat([torch.zeros(mixtures), quantiles[1::2], torch.log(scales)])


def draw(parameters: Tensor, inverse_temperature: float | Tensor, uniforms: Tensor) -> Tensor:
    """Codes 0..65535 (B,) from parameters (B, 3 K) and one uniform each (B,).

    The uniform picks the component, and where it lies within that component's share is the uniform of the
    logistic. A temperature divides the weights' logits and multiplies the scales.
    """
    log_weights, means, log_scales = split(parameters)
    p = torch.exp((log_weights - log_weights.amax(-1, keepdim=True)) * inverse_temperature)
    upto = p.cumsum(-1)
    limit = (uniforms * upto[:, -1])[:, None]
    component = (upto[:, :-1] <= limit).sum(-1, keepdim=True)
    share = p.gather(-1, component)
    u = ((limit - upto.gather(-1, component) + share) / share).clamp(LEAST_UNIFORM, 1 - LEAST_UNIFORM)
    scale = torch.exp(log_scales.gather(-1, component)) / inverse_temperature
    value = means.gather(-1, component) + scale * (torch.log(u) - torch.log1p(-u))
    return ((value[:, 0] * 32768.0).round() + 32768.0).clamp(0, PCM_CODES - 1).long()
