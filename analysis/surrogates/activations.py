"""The catalogue of activations: one block each, in `ACTIVATIONS`.

At a kink the formula's ``Piecewise`` decides the derivative, as torch does: 0 for ``relu`` at 0, 0 for ``hardtanh`` at
its bounds, the slope for ``leaky_relu`` at 0. The values are ours and do not move with torch's ``clamp``.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
import torch
import torch.nn.functional as F

from .activation import Activation, Operation
from .symbols import u

_slope = sp.Symbol("slope", real=True)
_scale = sp.Symbol("scale", positive=True)
_steepness = sp.Symbol("steepness", positive=True)
_threshold = sp.Symbol("threshold", real=True)
_low = sp.Symbol("low", real=True)
_high = sp.Symbol("high", real=True)
_at_zero = sp.Symbol("at_zero", real=True)


def _always(*functions: Any) -> tuple[Operation, ...]:
    return tuple(Operation(function) for function in functions)


IDENTITY = Activation("identity", u)
RELU = Activation("relu", sp.Piecewise((0, u <= 0), (u, True)))
RELU6 = Activation("relu6", sp.Piecewise((0, u <= 0), (6, u >= 6), (u, True)))
LEAKY_RELU = Activation("leaky_relu", sp.Piecewise((u, u > 0), (_slope * u, True)), {_slope: 0.01})
ELU = Activation("elu", sp.Piecewise((u, u > 0), (_scale * (sp.exp(u) - 1), True)), {_scale: 1})
SILU = Activation("silu", u / (1 + sp.exp(-u)), aliases=("swish",))
GELU = Activation("gelu", u * (1 + sp.erf(u / sp.sqrt(2))) / 2)
GELU_TANH = Activation("gelu_tanh", u * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * (u + sp.Rational(44715, 10**6) * u**3))) / 2)
SOFTPLUS = Activation("softplus", sp.log(1 + sp.exp(_steepness * u)) / _steepness, {_steepness: 1})
TANH = Activation("tanh", sp.tanh(u))
LOGISTIC = Activation("logistic", 1 / (1 + sp.exp(-u)), aliases=("sigmoid", "expit"))
HARDTANH = Activation("hardtanh", sp.Piecewise((_low, u <= _low), (_high, u >= _high), (u, True)), {_low: -1, _high: 1})
SIGN = Activation("sign", sp.Piecewise((-1, u < 0), (1, u > 0), (0, True)))
HEAVISIDE = Activation("heaviside", sp.Piecewise((0, u < 0), (1, u > 0), (_at_zero, True)), {_at_zero: 0})
ROUND = Activation(
    "round",
    # Half to even, as torch: floor(u + 1/2) is one too many where u lies half above an even number.
    sp.floor(u + sp.Rational(1, 2)) - sp.Piecewise((1, sp.Eq(sp.Mod(u, 2), sp.Rational(1, 2))), (0, True)),
)

ACTIVATIONS: dict[str, Activation] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Activation)
}
"""Every activation of the catalogue, by name."""
