"""`measure`: the gradients of surrogates on a network and a batch, layer by layer, as a tidy table.

The reference is torch's own gradient of the untouched model, which takes no path through this project; the surrogates
share one more forward, and its loss must be the reference's to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import Refused
from ..surrogates.lookup import surrogate as find_surrogate
from ..surrogates.surrogate import Surrogate
from .deviation import Deviation, deviation
from .inputs import check, scalar, untouched
from .layers import Layer, layers, observe
from .table import provenance
from .untie.matching import TIED, label
from .untie.untied import untie

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "whole"
"""The layer's name in the rows of the whole gradient; their depth is 0."""

Loss = Callable[[Any, Any], torch.Tensor]
Gradients = Sequence[torch.Tensor | None]


def measure(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Sequence[str | Surrogate] | str | Surrogate,
    *,
    activations: Sequence[Any] | None = None,
    draws: int = 1,
    seed: int = 0,
    reference: str = "exact",
    network: str = "",
    stage: str = "",
    step: int | None = None,
) -> pd.DataFrame:
    """How far each surrogate's gradient deviates from the reference gradient, per layer and over all layers.

    The model is left as it was: parameters, ``grad``, buffers, modes and torch's random state. A forward that draws
    (dropout) draws the same for the reference and for every surrogate, from ``seed``. A model in training mode is
    measured in training mode (batch norm then uses the batch's statistics); ``table.attrs["training"]`` says so.

    Args:
        model: any module whose activations `untie` can reach.
        loss: ``loss(model(x), y)``, a scalar tensor.
        batch: ``(x, y)``; where ``x`` is a tuple the model is called as ``model(*x)``, where it is a mapping as
            ``model(**x)``.
        surrogates: names, `Surrogate` objects or ``"tied"``; each stands in for every activation at once.
        activations: which activations are untied, as `untie` takes its keys; all of the catalogue that run, where
            ``None``.
        draws: how many draws of each random surrogate.
        seed: of the surrogates' noise and of the forward's.
        reference: ``"exact"``, torch's own gradient; the derivative of Heaviside, which torch does not have, is 0.
        network: coordinate, copied into each row.
        stage: coordinate, copied.
        step: coordinate, copied.

    Returns:
        A row for each surrogate, draw and layer, and one for the whole gradient. A layer is a module that owns
        parameters, which are taken together. Columns: the coordinates ``network``, ``activation`` (joined by "+"),
        ``surrogate``, ``reference``, ``layer`` (its path; "whole"), ``depth`` (1 for the first layer to run; 0 for the
        whole), ``stage``, ``step``, ``seed``, ``sample`` ("batch"), ``draw``; the fields of `Deviation`; ``state`` and
        ``reason``. Undefined numbers are missing, with the reason. ``attrs`` hold the provenance, the loss, and what
        `untie` could not reach.

    Raises:
        Refused: the loss is not a finite scalar or does not depend on the parameters; a weight, buffer or the batch is
            not finite, or the batch is empty; the model runs no activation of the catalogue; a name is unknown or given
            twice; two runs of the same forward give different losses.

    >>> import torch
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> batch = torch.randn(8, 3), torch.randn(8, 1)
    >>> table = measure(model, torch.nn.functional.mse_loss, batch, ["tied", "constant"])
    >>> table[["surrogate", "layer", "depth", "angle_degrees"]].round(1).to_string(index=False).split()[:4]
    ['surrogate', 'layer', 'depth', 'angle_degrees']
    """
    import pandas as pd

    chosen = _surrogates(surrogates)
    if reference != "exact":
        raise Refused(f"measure(reference={reference!r}): the references known are 'exact'.")
    if draws < 1:
        raise Refused(f"measure(draws={draws}): at least one draw of each random surrogate is needed.")
    check(model, batch)
    owned = list(model.parameters())
    parameters = [parameter for parameter in owned if parameter.requires_grad]
    if not parameters:
        raise Refused("measure(model=...): no parameter of the model requires a gradient.")

    def output() -> Any:
        x = batch[0]
        return model(**x) if isinstance(x, Mapping) else model(*x) if isinstance(x, tuple) else model(x)

    def value() -> torch.Tensor:
        return scalar(loss(output(), batch[1]))

    with untouched(model, owned, seed) as again:
        observation = observe(model, output)
        keys = list(observation.activations) if activations is None else list(activations)
        if not keys:
            raise Refused(f"measure(model=...): {observation.nothing()}")
        with ExitStack() as stack:
            again()
            if "heaviside" in observation.activations:
                stack.enter_context(untie(model, {"heaviside": TIED}))
            expected = value()
            exact = _gradients(expected, parameters)
        again()
        with untie(model, {key: list(chosen.values()) for key in keys}, torch.Generator().manual_seed(seed)) as untied:
            found = value()
            if not torch.equal(found.detach(), expected.detach()):
                raise Refused(
                    f"measure(model=...): two runs of one forward gave the losses {expected.item()} and "
                    f"{found.item()}; the model keeps a state of its own, so no two gradients can be compared."
                )
            of_layer = layers(model, observation.order)
            rows: list[dict[Any, Any]] = []
            for choice, gradients in untied.replay(found, parameters, draws=draws):
                for layer, depth, compared in _compare(of_layer, parameters, gradients, exact):
                    rows.append(
                        {
                            "network": network,
                            "activation": "+".join(rule.key for rule in untied.rules),
                            "surrogate": list(chosen)[choice.index],
                            "reference": reference,
                            "layer": layer,
                            "depth": depth,
                            "stage": stage,
                            "step": step,
                            "seed": seed,
                            "sample": "batch",
                            "draw": choice.draw,
                        }
                        | _columns(compared)
                    )
    table = pd.DataFrame(rows).astype(dict.fromkeys(("step", *_COUNTS), "Int64") | dict.fromkeys(_NUMBERS, "float64"))
    device = str(parameters[0].device)
    table.attrs = provenance(
        seed=seed,
        device=device,
        training=model.training,
        loss=float(expected.detach()),
        unreached=[str(each) for each in untied.unreached],
    )
    return table


_COUNTS = ("kept", "flipped", "vanished", "appeared", "both_zero")
_NUMBERS = (
    "cosine",
    "angle_degrees",
    "log10_magnitude_ratio",
    "directional_derivative",
    "sign_agreement",
    "nonzero_fraction",
)


def _columns(compared: Deviation) -> dict[str, Any]:
    fields = asdict(compared)
    reason = fields.pop("reason")
    shares = {"sign_agreement": compared.sign_agreement, "nonzero_fraction": compared.nonzero_fraction}
    return fields | shares | {"state": compared.state, "reason": reason}


def _compare(
    of_layer: Sequence[Layer], parameters: Sequence[nn.Parameter], gradients: Gradients, exact: Gradients
) -> Iterator[tuple[str, int, Deviation]]:
    """Path, depth and deviation of each layer, then of all trained parameters together."""
    place = {id(parameter): index for index, parameter in enumerate(parameters)}
    for depth, layer in enumerate(of_layer, start=1):
        trained = [place[id(parameter)] for parameter in layer.parameters if id(parameter) in place]
        used = [index for index in trained if gradients[index] is not None or exact[index] is not None]
        if not trained:
            compared = Deviation(reason="the layer is frozen: no parameter of it requires a gradient")
        elif not used:
            compared = Deviation(reason="the layer is unused: the loss does not depend on its parameters")
        else:
            compared = deviation([gradients[index] for index in trained], [exact[index] for index in trained])
        yield layer.path, depth, compared
    yield WHOLE, 0, deviation(list(gradients), list(exact))


def _gradients(value: torch.Tensor, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor | None]:
    if not value.requires_grad:
        raise Refused("measure(loss=...): the loss does not depend on any trained parameter, so it has no gradient.")
    found: Gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    return [None if gradient is None else gradient.to(torch.float64) for gradient in found]


def _surrogates(given: Sequence[str | Surrogate] | str | Surrogate) -> dict[str, Surrogate | str]:
    listed: list[Any] = [given] if isinstance(given, str | Surrogate) else list(given)
    if not listed:
        raise Refused("measure(surrogates=[]): name at least one surrogate, e.g. surrogates=['constant'].")
    found = [each if each == TIED else find_surrogate(each) for each in listed]
    labels = [label(each) for each in found]
    twice = sorted({each for each in labels if labels.count(each) > 1})
    if twice:
        raise Refused(
            f"measure(surrogates=...): {', '.join(twice)} is given twice, and rows are told apart by the name."
        )
    return dict(zip(labels, found, strict=True))
