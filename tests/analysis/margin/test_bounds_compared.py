"""How tight the bounds are: medians of kappa over ten tanh networks, for the gradient of the lowest layer's weights.

The networks: x ~ N(0, 1) of the hidden width, weights N(0, 1/width), one output, squared error against N(0, 1) targets
over a batch of 8. `pytest -m slow -s tests/analysis/margin/test_bounds_compared.py` prints the whole table; measured:

| depth | width | naive | CROWN | semidefinite | attack | log CROWN / log attack | log semidefinite / log attack |
| --- | --- | --- | --- | --- | --- | --- | --- |
| 2 | 16 | 2.23 | 3.00 | 3.51 | 3.76 | 0.82 | 0.93 |
| 2 | 32 | 1.88 | 2.74 | 3.66 | 4.06 | 0.72 | 0.93 |
| 2 | 64 | 1.56 | 2.30 | 3.52 | 3.91 | 0.62 | 0.93 |
| 3 | 16 | 1.21 | 1.73 |      | 1.94 | 0.82 |      |
| 3 | 32 | 1.13 | 1.67 |      | 2.13 | 0.68 |      |
| 3 | 64 | 1.07 | 1.53 |      | 2.11 | 0.58 |      |
"""

from __future__ import annotations

import math
from statistics import median

import pytest
import torch
from downslope.analysis.gradients.margin.certificate.attack import attack
from downslope.analysis.gradients.margin.certificate.certificate import _bisect
from downslope.analysis.gradients.margin.certificate.crown import crown, naive
from downslope.analysis.gradients.margin.certificate.semidefinite import bilinear, semidefinite
from downslope.analysis.gradients.margin.certificate.trace import trace
from torch import nn

NETWORKS, SAMPLES = 10, 8
TABLE = {  # depth, width: naive, CROWN, semidefinite, attack
    (2, 16): (2.227, 3.002, 3.506, 3.762),
    (2, 32): (1.882, 2.740, 3.658, 4.062),
    (2, 64): (1.556, 2.297, 3.517, 3.915),
    (3, 16): (1.210, 1.726, None, 1.937),
    (3, 32): (1.133, 1.673, None, 2.126),
    (3, 64): (1.066, 1.530, None, 2.115),
}


def chain(width, depth, seed):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = [normal(width, width) / width**0.5 for _ in range(depth)] + [normal(1, width) / width**0.5]
    layers: list[nn.Module] = []
    for i, weight in enumerate(weights):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
        layer.weight = nn.Parameter(weight)
        layers += [layer, nn.Tanh()] if i < depth else [layer]
    x = normal(SAMPLES, width)
    y = normal(SAMPLES, 1)
    batch = x, y
    return trace(nn.Sequential(*layers), lambda a, b: ((a - b) ** 2).mean() / 2, batch, frozenset({"0.weight"}))


def largest(bound):
    return _bisect(lambda kappa: float(bound(kappa).sum()) > 0, math.inf, 1e-3)[0]


def kappas(width, depth, seed):
    net = chain(width, depth, seed)
    found = [largest(lambda k: naive(net, k)), largest(lambda k: crown(net, k))]
    if depth == 2:
        form = bilinear(net)
        found.append(largest(lambda k: semidefinite(form, k)))
    else:
        found.append(None)
    found.append(_bisect(lambda k: float(attack(net, k)[0].sum()) >= 0, math.inf, 1e-3)[1])
    return found


def check(depth, width):
    rows = [kappas(width, depth, seed) for seed in range(NETWORKS)]
    for row in rows:
        known = [kappa for kappa in row if kappa is not None]
        assert known == sorted(known)
    medians = tuple(None if None in column else median(column) for column in zip(*rows, strict=True))
    logs = [[math.log(kappa) / math.log(row[-1]) if kappa else math.nan for kappa in row[1:3]] for row in rows]
    print(f"depth {depth} width {width}: {medians}, log ratios {[median(c) for c in zip(*logs, strict=True)]}")
    for found, expected in zip(medians, TABLE[depth, width], strict=True):
        assert found == (None if expected is None else pytest.approx(expected, rel=0.02))


@pytest.mark.parametrize("kappa", [1.2, 2.0])
def test_naive_is_interval_arithmetic_and_loses_nothing_to_rounding(kappa):
    net = chain(8, 2, 0)
    _, slope1, middle, slope2, last = net.steps
    y2 = net.error @ last.weight * slope2.derivative
    low, high = torch.minimum(y2, kappa * y2), torch.maximum(y2, kappa * y2)
    up, down = middle.weight.clamp_min(0), middle.weight.clamp_max(0)
    low, high = (low @ up + high @ down) * slope1.derivative, (high @ up + low @ down) * slope1.derivative
    low, high = torch.minimum(low, kappa * low), torch.maximum(high, kappa * high)
    own = net.own[0].value
    expected = torch.minimum(own * low, own * high).sum(1)
    assert torch.allclose(naive(net, kappa), expected, rtol=0, atol=1e-11 * net.norm_squared)


def test_the_medians_of_a_small_network():
    check(2, 16)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width"), list(TABLE))
def test_the_medians(depth, width):
    check(depth, width)
