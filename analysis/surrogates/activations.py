"""The catalogue of activations: one block each, in `ACTIVATIONS`.

At a kink the formula's ``Piecewise`` decides the derivative, as torch does: 0 for ``relu`` at 0, 0 for ``hardtanh`` at
its bounds, the slope for ``leaky_relu`` at 0. The values are ours and do not move with torch's ``clamp``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


_Parameters = Callable[..., Mapping[str, Any] | None]


def _calls(*names: str, parameters: _Parameters = lambda inplace=False: {}) -> tuple[Operation, ...]:
    """Every torch callable of these names: function, method, in-place form, ``torch.ops.aten`` operator."""
    found: dict[Any, Operation] = {}
    for name in (form for stem in names for form in (stem, f"{stem}_")):
        for space in (torch, torch.Tensor, F, torch._C._nn, torch.special, torch.ops.aten):
            function = getattr(space, name, None)
            for each in (function, getattr(function, "default", None)):
                if each is not None:
                    found.setdefault(each, Operation(each, parameters, in_place=name.endswith("_")))
    return tuple(found.values())


def _between(low: float | None, high: float | None) -> tuple[Operation, ...]:
    """The ways to write an activation as a clamp: with exactly these bounds it is the activation, else it is not."""

    def bounds(min: Any = None, max: Any = None) -> dict[str, Any] | None:
        return {} if _is(min, low) and _is(max, high) else None

    one_sided = _calls("clamp_min", parameters=bounds) if high is None else ()
    return (*_calls("clamp", "clip", parameters=bounds), *one_sided)


def _is(value: Any, number: float | None) -> bool:
    return value is number or (isinstance(value, int | float) and value == number)


IDENTITY = Activation("identity", u)
RELU = Activation(
    "relu",
    sp.Piecewise((0, u <= 0), (u, True)),
    operations=(
        *_calls("relu"),
        *_between(0, None),
        *_calls(
            "threshold",
            parameters=lambda threshold=None, value=None, inplace=False: (
                {} if _is(threshold, 0) and _is(value, 0) else None
            ),
        ),
    ),
    source="Nair and Hinton 2010",
)
RELU6 = Activation(
    "relu6",
    sp.Piecewise((0, u <= 0), (6, u >= 6), (u, True)),
    operations=(
        *_calls("relu6"),
        *_calls(
            "hardtanh",
            parameters=lambda min_val=-1.0, max_val=1.0, inplace=False: {} if (min_val, max_val) == (0, 6) else None,
        ),
        *_between(0, 6),
    ),
    source="Krizhevsky 2010 (convolutional deep belief networks)",
)
LEAKY_RELU = Activation(
    "leaky_relu",
    sp.Piecewise((u, u > 0), (_slope * u, True)),
    {_slope: 0.01},
    _calls("leaky_relu", parameters=lambda negative_slope=0.01, inplace=False: {"slope": negative_slope}),
    source="Maas, Hannun and Ng 2013",
)
ELU = Activation(
    "elu",
    sp.Piecewise((u, u > 0), (_scale * (sp.exp(u) - 1), True)),
    {_scale: 1},
    # aten's elu has a scale and an input scale, of which only 1 is this activation; F.elu has inplace there instead.
    _calls(
        "elu",
        parameters=lambda alpha=1.0, scale=1, input_scale=1, inplace=False: (
            {"scale": alpha} if (scale is False or scale == 1) and input_scale == 1 else None
        ),
    ),
    source="Clevert, Unterthiner and Hochreiter 2016",
)
SILU = Activation(
    "silu", u / (1 + sp.exp(-u)), operations=_calls("silu"), aliases=("swish",), source="Elfwing, Uchibe and Doya 2018"
)
GELU = Activation(
    "gelu",
    u * (1 + sp.erf(u / sp.sqrt(2))) / 2,
    operations=_calls("gelu", parameters=lambda approximate="none": {} if approximate == "none" else None),
    source="Hendrycks and Gimpel 2016",
)
GELU_TANH = Activation(
    "gelu_tanh",
    u * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * (u + sp.Rational(44715, 10**6) * u**3))) / 2,
    operations=_calls("gelu", parameters=lambda approximate="none": {} if approximate == "tanh" else None),
    source="Hendrycks and Gimpel 2016, the tanh approximation",
)
SOFTPLUS = Activation(
    "softplus",
    sp.log(1 + sp.exp(_steepness * u)) / _steepness,
    {_steepness: 1},
    # torch goes on linearly above the threshold; from 20 on, its default, the formula does too to within 2e-9.
    _calls("softplus", parameters=lambda beta=1.0, threshold=20.0: {"steepness": beta} if threshold >= 20 else None),
    source="Dugas et al. 2001",
)
TANH = Activation("tanh", sp.tanh(u), operations=_calls("tanh"), source="LeCun et al. 1998 (Efficient BackProp)")
LOGISTIC = Activation(
    "logistic",
    1 / (1 + sp.exp(-u)),
    operations=_calls("sigmoid", "expit", "special_expit"),
    aliases=("sigmoid", "expit"),
    source="Rumelhart, Hinton and Williams 1986",
)
HARDTANH = Activation(
    "hardtanh",
    sp.Piecewise((_low, u <= _low), (_high, u >= _high), (u, True)),
    {_low: -1, _high: 1},
    (
        *_calls(
            "hardtanh",
            parameters=lambda min_val=-1.0, max_val=1.0, inplace=False: (
                {"low": min_val, "high": max_val} if (min_val, max_val) != (0, 6) else None
            ),
        ),
        *_between(-1, 1),
    ),
    source="Collobert 2004",
)
SIGN = Activation(
    "sign",
    sp.Piecewise((-1, u < 0), (1, u > 0), (0, True)),
    operations=_calls("sign", "sgn"),
    source="Courbariaux et al. 2016 (binary activations)",
)
HEAVISIDE = Activation(
    "heaviside",
    sp.Piecewise((0, u < 0), (1, u > 0), (_at_zero, True)),
    {_at_zero: 0},
    # The value at zero does not enter the derivative, and it may be a tensor: it is left as it is.
    _calls("heaviside", parameters=lambda values=None: {}),
    source="McCulloch and Pitts 1943",
)
ROUND = Activation(
    "round",
    # Half to even, as torch: floor(u + 1/2) is one too many where u lies half above an even number.
    sp.floor(u + sp.Rational(1, 2)) - sp.Piecewise((1, sp.Eq(sp.Mod(u, 2), sp.Rational(1, 2))), (0, True)),
    operations=_calls("round", "special_round", parameters=lambda decimals=0: {} if decimals == 0 else None),
)

ACTIVATIONS: dict[str, Activation] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Activation)
}
"""Every activation of the catalogue, by name."""
