"""The catalogue of surrogates: one block each, found by its value, in `SURROGATES`.

Widths are half-widths of the support or standard deviations, as each block's note says; heights are the value at the
centre. An entry is written in the normalisation of its source, so that a name of the field means what it means
there.
"""

from __future__ import annotations

import sympy as sp
from sympy.stats import Uniform

from .surrogate import Surrogate
from .symbols import u

height = sp.Symbol("height", positive=True)
width = sp.Symbol("width", positive=True)
centre = sp.Symbol("centre", real=True)
steepness = sp.Symbol("steepness", positive=True)
slope = sp.Symbol("slope", positive=True)
leak = sp.Symbol("leak", positive=True)
tail = sp.Symbol("tail", positive=True)
knee = sp.Symbol("knee", positive=True)
lobe = sp.Symbol("lobe", positive=True)
stretch = sp.Symbol("stretch", positive=True)
_xi = Uniform("xi", 0, 1)

_v = u - centre
_inside = sp.Abs(_v) <= width


def _normal(x: sp.Expr, deviation: sp.Expr) -> sp.Expr:
    return sp.exp(-(x**2) / (2 * deviation**2)) / (sp.sqrt(2 * sp.pi) * deviation)


CONSTANT = Surrogate(
    "constant",
    factor=height,
    parameters={height: 1},
    source="Hinton 2012 (lecture); Bengio, Leonard and Courville 2013; Troiano et al. 2025",
    aliases=("straight_through", "identity_ste", "ste"),
    note="Passes every upstream gradient on, saturated units too.",
)
CLIPPED = Surrogate(
    "clipped",
    factor=sp.Piecewise((1, _inside), (0, True)),
    parameters={width: 1, centre: 0},
    source="Hubara et al. 2016, eq. 4 (hard tanh straight-through)",
    aliases=("clipped_ste", "hardtanh_ste", "saturated_ste"),
    forward="sign",
    note="width is the half-width of the window; the bounds belong to it.",
)
RECTANGLE = Surrogate(
    "rectangle",
    factor=sp.Piecewise((height, _inside), (0, True)),
    parameters={height: 1, width: 0.5, centre: 0},
    source="Wu et al. 2018; Troiano et al. 2025",
    aliases=("rectangular", "boxcar", "rect"),
    note="width is the half-width; height 1 on [-1/2, 1/2] has mass 1.",
)
TRIANGLE = Surrogate(
    "triangle",
    factor=sp.Piecewise((height * (1 - sp.Abs(_v) / width), _inside), (0, True)),
    parameters={height: 1, width: 1, centre: 0},
    source="Esser et al. 2016; Bellec et al. 2018",
    aliases=("triangular", "piecewise_quadratic", "tent"),
    note="width is the half-width; Bellec's dampening is height = 0.3.",
)
RELU_DERIVATIVE = Surrogate(
    "relu_derivative",
    factor=sp.Piecewise((1, u > 0), (0, True)),
    source="Yin et al. 2019 (vanilla ReLU straight-through)",
    aliases=("relu_ste",),
)
LEAKY_RELU_DERIVATIVE = Surrogate(
    "leaky_relu_derivative",
    factor=sp.Piecewise((1, u > 0), (slope, True)),
    parameters={slope: 0.1},
    source="Linse, Barth and Martinetz 2024 (under a ReLU forward)",
    aliases=("leaky_backward",),
    forward="relu",
    note="Positive everywhere: a dead ReLU still learns.",
)
LOGISTIC_DERIVATIVE = Surrogate(
    "logistic_derivative",
    factor=steepness * sp.exp(-steepness * u) / (1 + sp.exp(-steepness * u)) ** 2,
    parameters={steepness: 4},
    source="Zenke and Vogels 2021",
    aliases=("sigmoid_derivative", "sigmoid"),
    note="Mass 1 at every steepness.",
)
TANH_DERIVATIVE = Surrogate(
    "tanh_derivative",
    factor=1 / sp.cosh(steepness * u) ** 2,
    parameters={steepness: 1},
    source="Gong et al. 2019; Qin et al. 2020",
    aliases=("sech_squared",),
    forward="sign",
)
ARCTANGENT_DERIVATIVE = Surrogate(
    "arctangent_derivative",
    factor=steepness / (2 * (1 + (sp.pi * steepness * u / 2) ** 2)),
    parameters={steepness: 2},
    source="Fang et al. 2021",
    aliases=("atan", "arctan"),
    note="Mass 1 at every steepness.",
)
FAST_SIGMOID = Surrogate(
    "fast_sigmoid",
    factor=1 / (1 + steepness * sp.Abs(u)) ** 2,
    parameters={steepness: 25},
    source="Zenke and Ganguli 2018 (SuperSpike)",
    aliases=("superspike",),
)
GAUSSIAN = Surrogate(
    "gaussian",
    factor=_normal(_v, width),
    parameters={width: 0.5, centre: 0},
    source="Yin, Corradi and Bohte 2021",
    aliases=("erf", "erf_derivative", "normal"),
    note="width is the standard deviation; mass 1.",
)
LAPLACE = Surrogate(
    "laplace",
    factor=height * sp.exp(-sp.Abs(_v) / width),
    parameters={height: 1, width: 1, centre: 0},
    source="Shrestha and Orchard 2018 (SLAYER)",
    aliases=("exponential", "piecewise_exponential", "single_exponential", "slayer", "spike_rate_escape"),
    note="width is the decay length; mass 2 height width.",
)
BIREAL = Surrogate(
    "bireal",
    factor=sp.Piecewise((2 + 2 * u, (u >= -1) & (u < 0)), (2 - 2 * u, (u >= 0) & (u < 1)), (0, True)),
    source="Liu et al. 2018 (Bi-Real Net), ApproxSign",
    aliases=("approx_sign", "polynomial"),
    forward="sign",
    note="Derivative of the piecewise quadratic that approaches sign.",
)
SWISH_SIGN = Surrogate(
    "swish_sign",
    factor=steepness * (2 - steepness * u * sp.tanh(steepness * u / 2)) / (1 + sp.cosh(steepness * u)),
    parameters={steepness: 5},
    source="Darabi et al. 2018 (BNN+), SignSwish",
    aliases=("sign_swish",),
    forward="sign",
    note="Negative in the tails, |steepness u| > 2.4.",
    expected_failed_checks={
        "sign-preserving": "derivative of SignSwish, which overshoots 1 and falls back: negative in both tails",
        "descent-one-unit": "a unit in a tail is moved uphill, because the factor is negative there",
    },
)
MULTI_GAUSSIAN = Surrogate(
    "multi_gaussian",
    factor=(1 + lobe) * _normal(u, width)
    - lobe * _normal(u - width, stretch * width)
    - lobe * _normal(u + width, stretch * width),
    parameters={width: 0.5, lobe: 0.15, stretch: 6},
    source="Yin, Corradi and Bohte 2021",
    aliases=("mexican_hat",),
    note="Negative in the tails on purpose.",
    expected_failed_checks={
        "sign-preserving": "its side lobes are negative on purpose: they hold back units far from the threshold",
        "descent-one-unit": "a unit in a side lobe is moved uphill, because the factor is negative there",
    },
)
FULL_JAM = Surrogate(
    "full_jam",
    factor=_xi,
    source="Troiano et al. 2025 (full jamming)",
    aliases=("jam",),
    forward="relu",
    note="A positive factor drawn anew for each unit, sample and step; passes gradient where the forward is flat.",
)
POSITIVE_JAM = Surrogate(
    "positive_jam",
    factor=sp.Piecewise((_xi, u >= 0), (0, True)),
    source="Troiano et al. 2025 (positive jamming)",
    forward="relu",
)
RECTANGULAR_JAM = Surrogate(
    "rectangular_jam",
    factor=sp.Piecewise((_xi, _inside), (0, True)),
    parameters={width: 5, centre: 0},
    source="Troiano et al. 2025 (rectangular jamming)",
    forward="logistic",
    note="width is the half-width.",
)
LEAKY_RECTANGLE = Surrogate(
    "leaky_rectangle",
    factor=sp.Piecewise((1 / (2 * width), sp.Abs(_v) < width), (leak, True)),
    parameters={width: 1, leak: 0.01, centre: 0},
    source="Fang et al. 2023 (SpikingJelly), piecewise leaky ReLU",
    aliases=("piecewise_leaky_relu",),
    note="width is the half-width of the window, in which the mass is 1.",
)
SOFTSIGN = Surrogate(
    "softsign",
    factor=steepness / (2 * (1 + steepness * sp.Abs(u)) ** 2),
    parameters={steepness: 2},
    source="Fang et al. 2023 (SpikingJelly)",
    aliases=("soft_sign_derivative",),
    note="fast_sigmoid normalised to mass 1.",
)
LOG_ABS = Surrogate(
    "log_abs",
    factor=1 / (1 / steepness + sp.Abs(u)),
    parameters={steepness: 1},
    source="Fang et al. 2023 (SpikingJelly), nonzero sign log abs",
    aliases=("nonzero_sign_log_abs",),
    note="Its tail is so heavy that its integral diverges.",
)
Q_PSEUDO_SPIKE = Surrogate(
    "q_pseudo_spike",
    factor=(1 + 2 * sp.Abs(u) / tail) ** (-1 - tail),
    parameters={tail: 1},
    source="Herranz-Celotti and Rouat 2022 (Surrogate Gradients Design)",
    note="tail is q - 1: the factor falls like |u|^(-1 - tail). Height 1, mass 1.",
)
S2NN = Surrogate(
    "s2nn",
    factor=sp.Piecewise(
        (steepness * sp.exp(-steepness * u) / (1 + sp.exp(-steepness * u)) ** 2, u < 0), (height / (u + 1), True)
    ),
    parameters={steepness: 4, height: 1},
    source="Suetake et al. 2023 (S2NN)",
    note="height is the value at 0, from where the right tail falls like 1 / u: its integral diverges.",
)
COSINE = Surrogate(
    "cosine",
    factor=sp.Piecewise((height * (1 + sp.cos(sp.pi * _v / width)) / 2, _inside), (0, True)),
    parameters={height: 1, width: 1, centre: 0},
    source="raised cosine window; Hann",
    aliases=("raised_cosine", "hann"),
    note="width is the half-width; continuously differentiable with compact support.",
)
CIRCLE = Surrogate(
    "circle",
    factor=1 / (1 + (steepness * u) ** 2) ** sp.Rational(3, 2),
    parameters={steepness: 2},
    source="Pehle and Pedersen 2021 (Norse), circ",
    aliases=("circ",),
    note="Derivative of u / sqrt(1 + (steepness u)^2); steepness is 1 / alpha of Norse.",
)
DSPIKE = Surrogate(
    "dspike",
    factor=sp.Piecewise(
        (steepness / (2 * sp.tanh(steepness / 2) * sp.cosh(steepness * _v) ** 2), sp.Abs(_v) <= sp.Rational(1, 2)),
        (0, True),
    ),
    parameters={steepness: 3, centre: 0},
    source="Li et al. 2021 (Differentiable Spike)",
    aliases=("differentiable_spike",),
    note="A piece of the tanh derivative on a window of width 1, scaled to mass 1 at every steepness.",
)
LOG_TAILED_RELU = Surrogate(
    "log_tailed_relu",
    factor=sp.Piecewise((0, u <= 0), (1, u <= knee), (1 / (u - knee + 1), True)),
    parameters={knee: 1},
    source="Cai et al. 2017 (half-wave Gaussian quantization)",
    forward="relu",
    note="Beyond the knee the forward is logarithmic: outliers get less gradient. Its integral diverges.",
)
SOFTPLUS_DERIVATIVE = Surrogate(
    "softplus_derivative",
    factor=1 / (1 + sp.exp(-steepness * u)),
    parameters={steepness: 1},
    source="Dugas et al. 2001 (softplus)",
    forward="relu",
    note="The logistic function itself: a smooth ReLU derivative that is positive everywhere.",
)

SURROGATES: dict[str, Surrogate] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Surrogate)
}
"""Every surrogate of the catalogue, by name."""

USUAL: tuple[str, ...] = tuple(
    each.name for each in (CONSTANT, RECTANGLE, TRIANGLE, GAUSSIAN, FAST_SIGMOID, SWISH_SIGN, FULL_JAM, POSITIVE_JAM)
)
"""One or two of each family: what is shown where the whole catalogue would be too much, each in a colour of its own."""
