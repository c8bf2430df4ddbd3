"""Mean and second moment of the gradient under random factors, on a chain, in closed form.

With independent factors of mean mu and variance s^2 for each unit and sample, the error signal of one sample at the
preactivations has mean m and second moment C = E[delta delta^T]; a layer down

    m <- mu * (W^T m),    C <- (mu mu^T) * (W^T C W) + Diag(s^2 * diag(W^T C W))        (THEORY `jamming-moments`)

and the gradient sum_k delta_k x_k^T of a layer has the mean sum_k m_k x_k^T and the second moment
E|g~|^2 = |mean|^2 + sum_k |x_k|^2 (tr C_k - |m_k|^2), samples being independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...surrogates.formula.evaluation import evaluate
from ...surrogates.surrogate import Surrogate
from .chain import Activated, Chain, Linear

LIMIT = 2e11
"""Multiplications beyond which the second moment is not computed; some ten seconds of one core."""

_ENTRIES = 2**22  # of the second moments held at once


@dataclass(frozen=True)
class Moments:
    """Of the gradient under random factors.

    Attributes:
        mean: E g~ by position of the trained parameter.
        spread: E|g~|^2 - |E g~|^2 over the weight and bias of each linear map, by their positions.
    """

    mean: dict[int, Tensor]
    spread: list[tuple[tuple[int, ...], float]]

    def variance(self, where: Sequence[int]) -> float | None:
        """E|g~|^2 - |E g~|^2 over these parameters; ``None`` where they are not whole linear maps."""
        inside = [(own, value) for own, value in self.spread if own and set(own) <= set(where)]
        covered = {each for own, _ in inside for each in own}
        return sum(value for _, value in inside) if covered == set(where) else None


def operations(chain: Chain) -> float:
    """Multiplications of the recursion."""
    shapes = [step.matrix.shape for step in chain.steps if isinstance(step, Linear)][1:]
    return float(sum(len(chain.error) * (m * m * n + m * n * n) for m, n in shapes))


def moments(chain: Chain, surrogate: Surrogate, untied: frozenset[str] | None = None) -> Moments:
    """The recursion from the loss down.

    Args:
        chain: of linear maps and activations.
        surrogate: psi, random and independent for each unit and sample.
        untied: names of the activations that it stands in for; all where ``None``.

    Raises:
        Refused: the mean or variance of psi over its noise has no known form.
    """
    mean: dict[int, Tensor] = {}
    signals: list[Tensor] = []
    m = chain.error
    for step in reversed(chain.steps):
        if isinstance(step, Linear):
            signals.append(m)
            if step.weight is not None:
                mean[step.weight] = m.T @ step.inputs
            if step.bias is not None:
                mean[step.bias] = m.sum(0)
            m = m @ step.matrix
        else:
            m = m * _factors(step, surrogate, untied)[0]
    spread = torch.zeros(len(signals), dtype=torch.float64, device=m.device)
    widest = max(step.matrix.shape[0] for step in chain.steps if isinstance(step, Linear))
    for part in torch.split(torch.arange(len(m), device=m.device), max(1, _ENTRIES // widest**2)):
        spread += _spread(chain, surrogate, untied, signals, part)
    maps = [step for step in reversed(chain.steps) if isinstance(step, Linear)]
    own = [tuple(each for each in (step.weight, step.bias) if each is not None) for step in maps]
    return Moments(mean, list(zip(own, spread.tolist(), strict=True)))


def _spread(
    chain: Chain, surrogate: Surrogate, untied: frozenset[str] | None, signals: Sequence[Tensor], part: Tensor
) -> Tensor:
    """sum_k |x_k|^2 (tr C_k - |m_k|^2) over these samples, for each linear map from the last to the first."""
    error = chain.error[part]
    second = error[:, :, None] * error[:, None, :]
    found: list[Tensor] = []
    for step in reversed(chain.steps):
        if isinstance(step, Linear):
            trace = second.diagonal(dim1=1, dim2=2).sum(1)
            excess = trace - signals[len(found)][part].square().sum(1)
            found.append((step.squared[part] * excess).sum())
            if len(found) < len(signals):
                second = step.matrix.T @ second @ step.matrix
        else:
            mu, variance = (each[part] for each in _factors(step, surrogate, untied))
            own = second.diagonal(dim1=1, dim2=2) * variance
            second = mu[:, :, None] * second * mu[:, None, :] + torch.diag_embed(own)
    return torch.stack(found)


def _factors(step: Activated, surrogate: Surrogate, untied: frozenset[str] | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of the factor at each unit and sample; a tied activation has its derivative, for certain."""
    z = step.preactivation
    if untied is not None and step.name not in untied:
        return step.derivative(z), torch.zeros_like(z)
    return evaluate(surrogate.mean, z), evaluate(surrogate.variance, z)
