"""The exact examples that several claims of these chapters rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...claim import Witness

CONST_1: Mapping[str, Any] = {"constant": {"height": "1"}}


def one_unit(activation: Mapping[str, Any], weight: str, inputs: list[str], loss: Mapping[str, Any], unit: str) -> Any:
    """A network of one weight and one unit on a batch of scalars, under a constant-1 backward."""
    return {
        "network": [{"linear": [[weight]], "unit": unit}, activation],
        "inputs": [[x] for x in inputs],
        "loss": loss,
        "backward": CONST_1,
    }


def _gradients(true: Any, surrogate: Any, product: str) -> dict[str, Any]:
    return {"gradient": true, "surrogate_gradient": surrogate, "inner_product": product}


LEAKY_MIXING = Witness(
    "leaky 1/2 over const-1, two samples: g = 1/4 but g~ = -1/2, and a step along -g~ raises the loss from 13/8",
    "network",
    one_unit({"leaky_relu": {"slope": "1/2"}}, "1", ["1", "-1"], {"squared": [["0"], ["-2"]]}, "1") | {"step": "1/10"},
    _gradients([[["1/4"]]], [[["-1/2"]]], "-1/8") | {"loss": "13/8", "loss_after": "1049/640"},
)
"""With weight 1, inputs 1 and -1 and targets in halves up to 4 no numerators and denominators add up to less."""

RELU_MIXING = Witness(
    "ReLU over const-1, two samples: g = 1 but g~ = -1",
    "network",
    one_unit({"relu": {}}, "1", ["1", "-1"], {"squared": [["0"], ["-2"]]}, "1"),
    _gradients([[["1"]]], [[["-1"]]], "-1"),
)

LOGISTIC_MIXING = Witness(
    "logistic over const-1, two samples with 0/1 labels, w = ln 2: g < 0 but g~ > 0",
    "network",
    one_unit({"logistic": {}}, "1", ["1", "7"], {"squared": [["1"], ["0"]]}, "ln 2"),
    _gradients([[["-44326/2146689"]]], [[["853/129"]]], "-37810078/276922881"),
)

SHARED_KERNEL = Witness(
    "kernel w = 1 at two positions x = (1, -1), leaky 1/2 over const-1, r = (2, 3): g = 1/2 but g~ = -1",
    "network",
    one_unit({"leaky_relu": {"slope": "1/2"}}, "1", ["1", "-1"], {"linear": [["2"], ["3"]]}, "1"),
    _gradients([[["1/2"]]], [[["-1"]]], "-1/2"),
)

SOFTMAX = Witness(
    "p = (1/2, 1/2), r = (-2, -1): Jr = (-1/4, 1/4); in place of J the diagonal (1, 3) gives inner product -1/4",
    "softmax",
    {"exponentials": ["1", "1"], "upstream": ["-2", "-1"], "diagonal": ["1", "3"]},
    {"gradient": ["-1/4", "1/4"], "surrogate_gradient": ["-2", "-3"], "inner_product": "-1/4"},
)

SOFTMAX_SIGN = Witness(
    "the same with the identity in place of J: the second entry's sign flips",
    "softmax",
    {"exponentials": ["1", "1"], "upstream": ["-2", "-1"], "diagonal": ["1", "1"]},
    {"gradient": ["-1/4", "1/4"], "surrogate_gradient": ["-2", "-1"], "inner_product": "1/4"},
)


def _one_two_one(activation: Mapping[str, Any], weight: str, x: str, readout: list[str]) -> dict[str, Any]:
    return {
        "network": [{"linear": [[weight]]}, {"linear": [["1"], ["-1"]]}, activation, {"linear": [readout]}],
        "inputs": [[x]],
        "loss": {"squared": [["0"]]},
        "backward": CONST_1,
    }


DEPTH_FLIP_LEAKY = Witness(
    "net 1-2-1, leaky 1/2 over const-1, one sample: the first weight's gradient is 1/4, and -1/2 untied",
    "network",
    _one_two_one({"leaky_relu": {"slope": "1/2"}}, "1", "1", ["2", "3"]),
    _gradients(
        [[["1/4"]], [["1"], ["3/4"]], [["1/2", "-1/4"]]], [[["-1/2"]], [["1"], ["3/2"]], [["1/2", "-1/4"]]], "37/16"
    ),
)

DEPTH_FLIP_RELU = Witness(
    "net 1-2-1, ReLU over const-1, one sample: the first weight's gradient is 1, and -1 untied",
    "network",
    _one_two_one({"relu": {}}, "1", "1", ["1", "2"]),
    _gradients([[["1"]], [["1"], ["0"]], [["1", "0"]]], [[["-1"]], [["1"], ["2"]], [["1", "0"]]], "1"),
)

DEPTH_ASCENT_LEAKY = Witness(
    "the leaky net with x = 5, w = 1/5: <g, g~> = -11/16, and a step of 1/1000 along -g~ raises the loss",
    "network",
    _one_two_one({"leaky_relu": {"slope": "1/2"}}, "1/5", "5", ["2", "3"]) | {"step": "1/1000"},
    _gradients(
        [[["5/4"]], [["1"], ["3/4"]], [["1/2", "-1/4"]]],
        [[["-5/2"]], [["1"], ["3/2"]], [["1/2", "-1/4"]]],
        "-11/16",
    )
    | {"loss": "1/8"},
)

DEPTH_ASCENT_RELU = Witness(
    "the ReLU net with x = 2, w = 1/2: <g, g~> = -2",
    "network",
    _one_two_one({"relu": {}}, "1/2", "2", ["1", "2"]),
    {"inner_product": "-2"},
)

NONNEGATIVE_FLIP = Witness(
    "hidden weights [[1, 0], [1, 1]], readout (2, -3), leaky 1/2 over const-1: the first entry is 1/2, and -1 untied",
    "network",
    {
        "network": [
            {"linear": [["1"], ["-2"]]},
            {"linear": [["1", "0"], ["1", "1"]]},
            {"leaky_relu": {"slope": "1/2"}},
            {"linear": [["2", "-3"]]},
        ],
        "inputs": [["1"]],
        "loss": {"linear": [["1"]]},
        "backward": CONST_1,
    },
    _gradients(
        [[["1/2"], ["-3/2"]], [["2", "-4"], ["-3/2", "3"]], [["1", "-1/2"]]],
        [[["-1"], ["-3"]], [["2", "-4"], ["-3", "6"]], [["1", "-1/2"]]],
        "191/4",
    ),
)
