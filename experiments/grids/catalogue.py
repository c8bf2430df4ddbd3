"""The grids, one block each: the paper's five experiments under its settings, and what lies beside them."""

from __future__ import annotations

from dataclasses import replace

from .grid import Block, Grid

PAPER = ("tied", "constant", "rectangle", "triangle", "full_jam", "positive_jam", "rectangular_jam")
"""The paper's backward rules, by their names in the catalogue of surrogates."""

_TEN = tuple(range(10))
_FIVE = tuple(range(5))

_UNIT = Block(("unit-ones",), ("logistic",), PAPER, (0.1,), (32,), epochs=30)
SUC_ONES = Grid(
    "suc-ones",
    title="A single logistic unit on Ones",
    blocks=(_UNIT,),
    seeds=tuple(range(20)),
    source="Troiano et al. 2025, single-unit classifier",
    glance=(replace(_UNIT, epochs=5),),
)
_MLP = Block(("mlp-digits",), ("logistic",), PAPER, (0.05,), (64,), epochs=100)
MLP_DIGITS = Grid(
    "mlp-digits",
    title="A 64-64-10 logistic network on DIGITS",
    blocks=(_MLP,),
    seeds=_TEN,
    source="Troiano et al. 2025, Table 3",
    glance=(replace(_MLP, epochs=10),),
)
_LENET = Block(("lenet-mnist",), ("logistic",), PAPER, (0.01,), (256,), epochs=30, momentum=0.9)
LENET_MNIST = Grid(
    "lenet-mnist",
    title="LeNet-5 with logistic units on MNIST",
    blocks=(_LENET,),
    seeds=_FIVE,
    source="Troiano et al. 2025, Table 4",
    glance=(replace(_LENET, rules=("tied", "constant", "rectangle"), epochs=2, data=("mnist:2000",)),),
)
_JAMMED = Block(("lenet-mnist", "lenet-fashion"), ("relu", "identity", "logistic"), PAPER, (0.01,), (64,), epochs=20)
_JAMMINGS = ("tied", "full_jam", "positive_jam", "rectangular_jam")
LENET_JAMMING = Grid(
    "lenet-jamming",
    title="LeNet-5 under jamming, on MNIST and Fashion-MNIST",
    blocks=(_JAMMED,),
    seeds=_FIVE,
    source="Troiano et al. 2025, Tables 6 to 8",
    glance=tuple(
        replace(_JAMMED, networks=(f"lenet-{short}",), rules=_JAMMINGS, epochs=1, data=(f"{data}:1000",))
        for short, data in (("mnist", "mnist"), ("fashion", "fashion-mnist"))
    ),
)
_BINARY = Block(("binary-ones",), ("heaviside",), PAPER, (0.1,), (64,), epochs=20)
BNN_ONES = Grid(
    "bnn-ones",
    title="A binary network on Ones",
    blocks=(_BINARY,),
    seeds=_TEN,
    source="Troiano et al. 2025, Table 13",
    glance=(replace(_BINARY, epochs=3),),
)
_DEPTHS = tuple(f"mlp-digits-depth-{depth}" for depth in range(1, 9))
_DEEP = Block(_DEPTHS, ("logistic", "tanh", "relu"), PAPER, (0.05,), (64,), epochs=50)
_FEW = ("tied", "constant", "triangle")
DEPTH_DIGITS = Grid(
    "depth-digits",
    title="One to eight hidden layers of 64 units on DIGITS",
    blocks=(_DEEP,),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(replace(_DEEP, networks=(_DEPTHS[0], _DEPTHS[3]), forwards=("tanh",), rules=_FEW, epochs=5),),
)
_WIDTHS = tuple(f"mlp-digits-width-{width}" for width in (8, 16, 32, 64, 128, 256, 512))
_BROAD = Block(_WIDTHS, ("logistic", "relu"), PAPER, (0.05,), (64,), epochs=50)
WIDTH_DIGITS = Grid(
    "width-digits",
    title="One hidden layer of 8 to 512 units on DIGITS",
    blocks=(_BROAD,),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(replace(_BROAD, networks=(_WIDTHS[0], _WIDTHS[4]), forwards=("logistic",), rules=_FEW, epochs=5),),
)
_STEPS = ("constant", "clipped", "rectangle", "triangle", "fast_sigmoid", "full_jam", "positive_jam", "rectangular_jam")
_HEAVISIDE = Block(("heaviside-digits",), ("heaviside",), ("tied", *_STEPS), (0.05,), (64,), epochs=30)
BINARY_DIGITS = Grid(
    "binary-digits",
    title="Binary hidden units, Heaviside and sign, on DIGITS",
    blocks=(
        _HEAVISIDE,
        replace(_HEAVISIDE, networks=("sign-digits",), forwards=("sign",)),
    ),
    seeds=_TEN,
    source="ours: the recipes of heaviside-digits and sign-digits",
    glance=(replace(_HEAVISIDE, rules=("constant", "triangle", "full_jam"), epochs=5),),
)
_RESIDUAL_RULES = (*PAPER, "leaky_relu_derivative")
_RESIDUAL = Block(("residual-digits",), ("relu",), _RESIDUAL_RULES, (0.05,), (64,), epochs=10, momentum=0.9)
RESIDUAL_DIGITS = Grid(
    "residual-digits",
    title="Two residual blocks with batch norm on DIGITS",
    blocks=(_RESIDUAL,),
    seeds=_FIVE,
    source="ours: the recipe of residual-digits",
    glance=(replace(_RESIDUAL, rules=_FEW, epochs=2),),
)
_STEEP = tuple(
    f"{name}(steepness={steepness})"
    for name in ("logistic_derivative", "fast_sigmoid", "arctangent_derivative")
    for steepness in (0.5, 1, 2, 4, 8, 16, 25)
)
_WIDE = tuple(f"triangle(width={width})" for width in (0.25, 0.5, 1, 2, 4))
_SLOPES = ("tied", "constant", *_STEEP, *_WIDE)
_SLOPED = Block(("mlp-digits",), ("logistic", "heaviside"), _SLOPES, (0.05,), (64,), epochs=50)
SLOPE_DIGITS = Grid(
    "slope-digits",
    title="How steep a surrogate may be, under logistic and Heaviside units on DIGITS",
    blocks=(_SLOPED,),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(replace(_SLOPED, forwards=("logistic",), rules=("tied", *_STEEP[7:14:3]), epochs=5),),
)
_LEAKS = ("tied", *(f"leaky_relu_derivative(slope={slope})" for slope in (0.01, 0.05, 0.1, 0.2, 0.5, 1)))
_LEAKY = Block(("mlp-digits", "mlp-digits-depth-4"), ("relu",), _LEAKS, (0.05,), (64,), epochs=50)
LEAK_DIGITS = Grid(
    "leak-digits",
    title="ReLU units with a leaky backward on DIGITS",
    blocks=(_LEAKY,),
    seeds=_FIVE,
    source="Linse, Barth and Martinetz 2024, the backward; the training is ours",
    glance=(replace(_LEAKY, networks=("mlp-digits",), rules=(_LEAKS[0], _LEAKS[3], _LEAKS[6]), epochs=5),),
)
_CLIMB_LEAKS = ("tied", *(f"leaky_relu_derivative(slope={slope})" for slope in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)))
_CLIMB = Block(("lenet-mnist",), ("relu",), _CLIMB_LEAKS, (0.01,), (256,), epochs=3, momentum=0.9)
MAXIMISE_LENET = Grid(
    "maximise-lenet",
    title="Activation maximisation on a ReLU LeNet-5 with a leaky backward",
    blocks=(_CLIMB,),
    seeds=_FIVE,
    source="Linse, Barth and Martinetz 2024 (arXiv 2410.16958), on LeNet-5",
    task="maximise",
    glance=(
        replace(
            _CLIMB,
            rules=(_CLIMB_LEAKS[0], _CLIMB_LEAKS[3], _CLIMB_LEAKS[6]),
            batches=(16,),
            epochs=6,
            data=("mnist:2000",),
        ),
    ),
)

_LISTED = [value for value in list(globals().values()) if isinstance(value, Grid)]
GRIDS: dict[str, Grid] = {grid.name: grid for grid in _LISTED}
"""Every grid, by name."""
