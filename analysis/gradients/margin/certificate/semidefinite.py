"""The semidefinite bound for two replaced layers: <g, g~> is bilinear on a box, and weak duality bounds it.

With t = a + h s, a = (1 + kappa)/2, h = (kappa - 1)/2, s in {-1, 1}, each sample's part is constant + s'Q s over
s = (1, s_1, s_2) in {-1, 1}^N with a symmetric Q of zero diagonal. As s_i^2 = 1 and s's = N, for ANY u

    s'Q s >= sum(u) + N lambda_min(Q - diag u)                                  (THEORY `certificate-two-layers`).

A good u comes from the mixing method (Wang, Chang and Kolter 2017, The mixing method): unit vectors v_i in place of
the signs, each set in turn to the best given the others, u_i = -|sum_j Q_ij v_j|. Nothing depends on its
convergence. The eigenvalue is verified: a Cholesky factorisation that runs through proves the shifted matrix
positive semidefinite up to gamma_(N+1)/(1 - gamma_(N+1)) times its trace (Demmel 1989; Rump 2006, Verification of
positive definiteness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .chain import Chain, Slope
from .rounded import UNIT, Rounded, gamma, upward


@dataclass(frozen=True)
class Bilinear:
    """Each sample's <g, g~> = constant + linear . t_2 + t_1' matrix t_2, up to rounding.

    Shapes: constant (samples,), linear (samples, n_2), matrix (samples, n_1, n_2).
    """

    constant: Rounded
    linear: Rounded
    matrix: Rounded


def bilinear(chain: Chain) -> Bilinear:
    """The form of a chain with two activations."""
    lower, upper = chain.slopes
    below, above = chain.steps[lower], chain.steps[upper]
    assert isinstance(below, Slope)
    assert isinstance(above, Slope)
    error = Rounded.exact(chain.error[None])
    for step in reversed(chain.steps[upper + 1 :]):
        assert not isinstance(step, Slope)
        error = step.backward(error)
    error = error.times(above.derivative)
    first = _own(chain, Rounded.exact(chain.still), 0, lower).times(below.derivative)
    still = Rounded.exact(torch.zeros_like(below.derivative)[None])
    second = _own(chain, still, lower + 1, upper)
    top = _own(chain, Rounded.exact(torch.zeros_like(above.derivative)[None]), upper + 1, len(chain.steps))
    constant = top.times(chain.error).total(keep=2)
    units, shape = below.derivative[0].numel(), below.derivative.shape
    one = torch.eye(units, dtype=torch.float64).reshape(units, 1, *shape[1:]).expand(-1, *shape)
    rows = Rounded.exact(one)
    for step in chain.steps[lower + 1 : upper]:
        assert not isinstance(step, Slope)
        rows = step.forward(rows)
    coefficient = Rounded(first.value.flatten(2)[0].T[..., None], first.radius.flatten(2)[0].T[..., None])
    matrix = _product(_product(Rounded(rows.value.flatten(2), rows.radius.flatten(2)), _flat(error)), coefficient)
    linear = _product(_flat(second), _flat(error))
    return Bilinear(
        Rounded(constant.value[0], constant.radius[0]),
        Rounded(linear.value[0], linear.radius[0]),
        Rounded(matrix.value.transpose(0, 1), matrix.radius.transpose(0, 1)),
    )


def semidefinite(form: Bilinear, kappa: float, sweeps: int = 60, seed: int = 0) -> Tensor:
    """A certified lower bound on each sample's part of <g, g~(t)>, for every t in [1, kappa], as (samples,) float64."""
    a, h = (1 + kappa) / 2, (kappa - 1) / 2
    matrix, linear = form.matrix.value, form.linear.value
    samples, n1, n2 = matrix.shape
    # The polynomial in s is formed in floating point; its terms' rounding is subtracted below with the form's own.
    constant = form.constant.value + a * linear.sum(1) + a * a * matrix.sum((1, 2))
    q = matrix.new_zeros((samples, 1 + n1 + n2, 1 + n1 + n2))
    q[:, 0, 1 : 1 + n1] = (a * h / 2) * matrix.sum(2)
    q[:, 0, 1 + n1 :] = (h / 2) * (linear + a * matrix.sum(1))
    q[:, 1 : 1 + n1, 1 + n1 :] = (h * h / 2) * matrix
    q = q + q.mT
    groups = [slice(0, 1), slice(1, 1 + n1), slice(1 + n1, None)]
    bound = dual_bound(q, mixing(q, groups, sweeps, seed))
    terms = n1 * n2 + n1 + n2 + 1
    moduli = form.constant.value.abs() + kappa * linear.abs().sum(1) + kappa * kappa * matrix.abs().sum((1, 2))
    radii = form.constant.radius + kappa * form.linear.radius.sum(1) + kappa * kappa * form.matrix.radius.sum((1, 2))
    lost = upward(radii + 4 * gamma(terms + 16) * moduli, terms)
    return Rounded(constant + bound, upward(lost + 2 * UNIT * (constant.abs() + bound.abs()))).low


def mixing(q: Tensor, groups: Sequence[slice], sweeps: int = 60, seed: int = 0) -> Tensor:
    """Multipliers u (samples, N) for symmetric ``q`` (samples, N, N) of zero diagonal.

    Args:
        q: the quadratic forms.
        groups: index ranges inside which q is zero, so that a whole range is set at once and exactly.
        sweeps: rounds over the groups.
        seed: of the vectors' start.
    """
    samples, n, _ = q.shape
    scale = q.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)
    q = q / scale  # so that no square over- or underflows
    rank = int((2 * n) ** 0.5) + 2
    generator = torch.Generator().manual_seed(seed)
    v = torch.nn.functional.normalize(torch.randn((samples, n, rank), generator=generator, dtype=q.dtype), dim=2)
    for _ in range(sweeps):
        for group in groups:
            pull = q[:, group] @ v
            size = torch.linalg.vector_norm(pull, dim=2, keepdim=True)
            v[:, group] = torch.where(size > 0, -pull / size.clamp_min(torch.finfo(q.dtype).tiny), v[:, group])
    u: Tensor = -torch.linalg.vector_norm(q @ v, dim=2) * scale[:, 0]
    return u


def dual_bound(q: Tensor, u: Tensor) -> Tensor:
    """sum(u) + N lambda_min(q - diag u), rounded down: a lower bound on s'q s over s in {-1, 1}^N, for any ``u``.

    Args:
        q: symmetric, (samples, N, N), float64, taken as exact.
        u: (samples, N), float64.
    """
    n = q.shape[-1]
    least = least_eigenvalue(q - torch.diag_embed(u))
    # q - diag u errs by at most u |entry| on the diagonal, which moves the eigenvalue by no more.
    moved = upward(UNIT * (q.diagonal(dim1=1, dim2=2).abs() + u.abs()).amax(1))
    part = n * (least - moved)
    size = u.abs().sum(1) + part.abs()
    return Rounded(u.sum(1) + part, upward(gamma(n + 4) * size, n)).low


def least_eigenvalue(a: Tensor) -> Tensor:
    """A verified lower bound on the least eigenvalue of each symmetric matrix (samples, N, N), as (samples,).

    Proposed by an eigenvalue solver, proved by a Cholesky factorisation of the matrix shifted by it; where that
    fails, the shift grows, up to the largest absolute row sum, beyond which no eigenvalue lies (a norm without
    squares, which would underflow). An entry that is not finite gives -inf.
    """
    n = a.shape[-1]
    finite = torch.isfinite(a).all(2).all(1)
    a = torch.where(finite[:, None, None], a, 0.0)
    norm = upward(a.abs().sum(2).amax(1), n)
    slack = 4 * n * UNIT * norm
    shift = torch.linalg.eigvalsh(a)[:, 0] - slack
    proved = -norm
    pending = torch.ones_like(norm, dtype=torch.bool)
    identity = torch.eye(n, dtype=a.dtype)
    while pending.any():
        shifted = a - shift[:, None, None] * identity
        done = (torch.linalg.cholesky_ex(shifted).info == 0) & pending
        diagonal = shifted.diagonal(dim1=1, dim2=2)
        factor = gamma(n + 1) / (1 - gamma(n + 1)) + UNIT
        lost = upward(
            factor * diagonal.abs().sum(1) + UNIT * (a.diagonal(dim1=1, dim2=2).abs().amax(1) + shift.abs()), n
        )
        proved = torch.where(done, torch.maximum(proved, shift - 2 * lost), proved)
        pending = pending & ~done & (shift > -norm)
        slack = 16 * slack
        shift = torch.where(pending, shift - slack, shift)
    return torch.where(finite, torch.nextafter(proved, proved - torch.inf), -torch.inf)


def _own(chain: Chain, tangent: Rounded, start: int, stop: int) -> Rounded:
    """The tangent at step ``stop`` that the weights of the links from ``start`` on give, without activations."""
    for position in range(start, stop):
        step = chain.steps[position]
        assert not isinstance(step, Slope)
        tangent = step.forward(tangent)
        term = chain.own[position]
        tangent = tangent if term is None else tangent + Rounded(term.value[None], term.radius[None])
    return tangent


def _product(x: Rounded, y: Rounded) -> Rounded:
    value = x.value * y.value
    spread = x.radius * y.value.abs() + x.value.abs() * y.radius + x.radius * y.radius
    return Rounded(value, upward(spread + UNIT * value.abs()))


def _flat(x: Rounded) -> Rounded:
    return Rounded(x.value.flatten(2), x.radius.flatten(2))
