"""The grids, one block each: the paper's five experiments under its settings, and what lies beside them."""

from __future__ import annotations

from .grid import Block, Grid

PAPER = ("tied", "constant", "rectangle", "triangle", "full_jam", "positive_jam", "rectangular_jam")
"""The paper's backward rules, by their names in the catalogue of surrogates."""

_TEN = tuple(range(10))
_FIVE = tuple(range(5))

SUC_ONES = Grid(
    "suc-ones",
    title="A single logistic unit on Ones",
    blocks=(Block(("unit-ones",), ("logistic",), PAPER, (0.1,), (32,), epochs=30),),
    seeds=tuple(range(20)),
    source="Troiano et al. 2025, single-unit classifier",
    glance=(Block(("unit-ones",), ("logistic",), PAPER, (0.1,), (32,), epochs=5),),
)
MLP_DIGITS = Grid(
    "mlp-digits",
    title="A 64-64-10 logistic network on DIGITS",
    blocks=(Block(("mlp-digits",), ("logistic",), PAPER, (0.05,), (64,), epochs=100),),
    seeds=_TEN,
    source="Troiano et al. 2025, Table 3",
    glance=(Block(("mlp-digits",), ("logistic",), PAPER, (0.05,), (64,), epochs=10),),
)
LENET_MNIST = Grid(
    "lenet-mnist",
    title="LeNet-5 with logistic units on MNIST",
    blocks=(Block(("lenet-mnist",), ("logistic",), PAPER, (0.01,), (256,), epochs=30, momentum=0.9),),
    seeds=_FIVE,
    source="Troiano et al. 2025, Table 4",
    glance=(
        Block(
            ("lenet-mnist",),
            ("logistic",),
            ("tied", "constant", "rectangle"),
            (0.01,),
            (256,),
            epochs=2,
            momentum=0.9,
            data=("mnist:2000",),
        ),
    ),
)
LENET_JAMMING = Grid(
    "lenet-jamming",
    title="LeNet-5 under jamming, on MNIST and Fashion-MNIST",
    blocks=(Block(("lenet-mnist", "lenet-fashion"), ("relu", "identity", "logistic"), PAPER, (0.01,), (64,), 20),),
    seeds=_FIVE,
    source="Troiano et al. 2025, Tables 6 to 8",
    glance=tuple(
        Block(
            (f"lenet-{short}",),
            ("relu", "identity", "logistic"),
            ("tied", "full_jam", "positive_jam", "rectangular_jam"),
            (0.01,),
            (64,),
            epochs=1,
            data=(f"{data}:1000",),
        )
        for short, data in (("mnist", "mnist"), ("fashion", "fashion-mnist"))
    ),
)
BNN_ONES = Grid(
    "bnn-ones",
    title="A binary network on Ones",
    blocks=(Block(("binary-ones",), ("heaviside",), PAPER, (0.1,), (64,), epochs=20),),
    seeds=_TEN,
    source="Troiano et al. 2025, Table 13",
    glance=(Block(("binary-ones",), ("heaviside",), PAPER, (0.1,), (64,), epochs=3),),
)
DEPTH_DIGITS = Grid(
    "depth-digits",
    title="One to eight hidden layers of 64 units on DIGITS",
    blocks=(
        Block(
            tuple(f"mlp-digits-depth-{depth}" for depth in range(1, 9)),
            ("logistic", "tanh", "relu"),
            PAPER,
            (0.05,),
            (64,),
            epochs=50,
        ),
    ),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(
        Block(
            ("mlp-digits-depth-1", "mlp-digits-depth-4"), ("tanh",), ("tied", "constant", "triangle"), (0.05,), (64,), 5
        ),
    ),
)
WIDTH_DIGITS = Grid(
    "width-digits",
    title="One hidden layer of 8 to 512 units on DIGITS",
    blocks=(
        Block(
            tuple(f"mlp-digits-width-{width}" for width in (8, 16, 32, 64, 128, 256, 512)),
            ("logistic", "relu"),
            PAPER,
            (0.05,),
            (64,),
            epochs=50,
        ),
    ),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(
        Block(
            ("mlp-digits-width-8", "mlp-digits-width-128"),
            ("logistic",),
            ("tied", "constant", "triangle"),
            (0.05,),
            (64,),
            epochs=5,
        ),
    ),
)
_STEPS = ("constant", "clipped", "rectangle", "triangle", "fast_sigmoid", "full_jam", "positive_jam", "rectangular_jam")
BINARY_DIGITS = Grid(
    "binary-digits",
    title="Binary hidden units, Heaviside and sign, on DIGITS",
    blocks=(
        Block(("heaviside-digits",), ("heaviside",), ("tied", *_STEPS), (0.05,), (64,), epochs=30),
        Block(("sign-digits",), ("sign",), ("tied", *_STEPS), (0.05,), (64,), epochs=30),
    ),
    seeds=_TEN,
    source="ours: the recipes of heaviside-digits and sign-digits",
    glance=(Block(("heaviside-digits",), ("heaviside",), ("constant", "triangle", "full_jam"), (0.05,), (64,), 5),),
)
RESIDUAL_DIGITS = Grid(
    "residual-digits",
    title="Two residual blocks with batch norm on DIGITS",
    blocks=(
        Block(
            ("residual-digits",),
            ("relu",),
            (*PAPER, "leaky_relu_derivative"),
            (0.05,),
            (64,),
            epochs=10,
            momentum=0.9,
        ),
    ),
    seeds=_FIVE,
    source="ours: the recipe of residual-digits",
    glance=(Block(("residual-digits",), ("relu",), ("tied", "constant", "triangle"), (0.05,), (64,), 2, 0.9),),
)
_STEEP = tuple(
    f"{name}(steepness={steepness})"
    for name in ("logistic_derivative", "fast_sigmoid", "arctangent_derivative")
    for steepness in (0.5, 1, 2, 4, 8, 16, 25)
)
_WIDE = tuple(f"triangle(width={width})" for width in (0.25, 0.5, 1, 2, 4))
SLOPE_DIGITS = Grid(
    "slope-digits",
    title="How steep a surrogate may be, under logistic and Heaviside units on DIGITS",
    blocks=(
        Block(
            ("mlp-digits",), ("logistic", "heaviside"), ("tied", "constant", *_STEEP, *_WIDE), (0.05,), (64,), epochs=50
        ),
    ),
    seeds=_FIVE,
    source="ours: the recipe of mlp-digits, half its epochs",
    glance=(Block(("mlp-digits",), ("logistic",), ("tied", *_STEEP[7:14:3]), (0.05,), (64,), epochs=5),),
)
LEAK_DIGITS = Grid(
    "leak-digits",
    title="ReLU units with a leaky backward on DIGITS",
    blocks=(
        Block(
            ("mlp-digits", "mlp-digits-depth-4"),
            ("relu",),
            ("tied", *(f"leaky_relu_derivative(slope={slope})" for slope in (0.01, 0.05, 0.1, 0.2, 0.5, 1))),
            (0.05,),
            (64,),
            epochs=50,
        ),
    ),
    seeds=_FIVE,
    source="Linse, Barth and Martinetz 2024, the backward; the training is ours",
    glance=(
        Block(
            ("mlp-digits",),
            ("relu",),
            ("tied", "leaky_relu_derivative(slope=0.1)", "leaky_relu_derivative(slope=1)"),
            (0.05,),
            (64,),
            epochs=5,
        ),
    ),
)
MAXIMISE_LENET = Grid(
    "maximise-lenet",
    title="Activation maximisation on a ReLU LeNet-5 with a leaky backward",
    blocks=(
        Block(
            ("lenet-mnist",),
            ("relu",),
            ("tied", *(f"leaky_relu_derivative(slope={slope})" for slope in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5))),
            (0.01,),
            (256,),
            epochs=3,
            momentum=0.9,
        ),
    ),
    seeds=_FIVE,
    source="Linse, Barth and Martinetz 2024 (arXiv 2410.16958), on LeNet-5",
    task="maximise",
    glance=(
        Block(
            ("lenet-mnist",),
            ("relu",),
            ("tied", "leaky_relu_derivative(slope=0.1)", "leaky_relu_derivative(slope=0.5)"),
            (0.01,),
            (16,),
            epochs=6,
            momentum=0.9,
            data=("mnist:2000",),
        ),
    ),
)

_LISTED = [value for value in list(globals().values()) if isinstance(value, Grid)]
GRIDS: dict[str, Grid] = {grid.name: grid for grid in _LISTED}
"""Every grid, by name."""
