"""Muon: gradient descent whose steps are orthogonal matrices (Jordan et al. 2024).

A step of Adam is dominated by the few directions that most gradients share. Muon gives every direction of a
layer the same length, so that rare ones (a seldom key, an overtone) are learned as early as frequent ones.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

# Of the polynomials a x + b x^3 + c x^5 that bring singular values to about 1, the first three of the five in
# Cesista, You and Jordan, "Squeezing 1-2% efficiency gains out of Muon", 2025. More gain nothing here.
POLYNOMIALS = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037))
MOMENTUM = 0.9
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, for parameters that are no matrices


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (M, N) with its singular values brought near 1; null stays null.

    What is above a tenth of the largest comes between 0.35 and 1.3. Powers are taken of the smaller square, M
    by M or N by N, which is cheaper than of the matrix itself.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    x = matrix / (matrix.norm() + 1e-7)
    square, product = x @ x.T, None
    for number, (a, b, c) in enumerate(POLYNOMIALS, 1):
        factor = torch.addmm(b * square, square, square, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if number < len(POLYNOMIALS):
            square = factor @ square @ factor
    return product @ x


class Muon(torch.optim.Optimizer):
    """Muon for kernels of convolutions, a matrix of outputs by inputs each; Adam for all other parameters.

    One learning rate serves both: it is the root mean square of what a step adds to a kernel's weights.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float):
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step along the gradients of all parameters."""
        for group in self.param_groups:
            for x in group["params"]:
                state = self.state[x]
                if not state:
                    state |= {"steps": 0, "mean": torch.zeros_like(x)}
                state["steps"] += 1
                change = self._of_kernel(x, state) if x.ndim > 2 else self._adam(x, state)
                x.add_(change, alpha=-group["lr"])

    def _of_kernel(self, x: Tensor, state: dict) -> Tensor:
        mean = state["mean"].lerp_(x.grad, 1 - MOMENTUM)
        ahead = x.grad.lerp(mean, MOMENTUM).flatten(1)  # Nesterov's momentum
        return (math.sqrt(max(ahead.shape)) * orthogonalised(ahead)).view_as(x)

    def _adam(self, x: Tensor, state: dict) -> Tensor:
        square = state.setdefault("square", torch.zeros_like(x))
        mean = state["mean"].lerp_(x.grad, 1 - BETAS[0])
        square.lerp_(x.grad.square(), 1 - BETAS[1])
        corrected = [m / (1 - beta ** state["steps"]) for m, beta in zip((mean, square), BETAS, strict=True)]
        return corrected[0] / (corrected[1].sqrt() + EPSILON)
