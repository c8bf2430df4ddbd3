"""`per_sample`: how far each surrogate turns the gradient of each single sample, layer by layer, as a tidy table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ...errors import Refused
from ..inputs import untouched
from ..layers import layers, observe
from ..measuring.choice import Given, count, seeded
from ..measuring.choice import surrogates as chosen_from
from ..measuring.remarks import remarks
from ..measuring.setting import Loss, Setting
from ..references.reference import flatness
from ..references.steps import FLAT, below, marking, stepping
from ..table import provenance
from ..untie.function import Replaced
from ..untie.matching import TIED
from ..untie.reach import clock, graph
from ..untie.running import eagerly
from ..untie.untied import untie
from .along import Chain
from .comparison import Comparison, compare, groups
from .independence import check_loss, check_modules
from .rows import Coordinates, frame
from .runs import Criterion, Exact, Outputs, Run

if TYPE_CHECKING:
    import pandas as pd

CALLER = "per_sample"


def per_sample(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    *,
    activations: Sequence[Any] | None = None,
    draws: int = 1,
    seed: int = 0,
    network: str = "",
    stage: str = "",
    step: int | None = None,
) -> pd.DataFrame:
    r"""How far each surrogate's gradient deviates from the exact one, for each sample of the batch and each layer.

    The gradient of a sample is its share in the batch's gradient: with a loss that is a mean over B samples, 1/B of
    the gradient of that sample's own loss. The exact one is torch's own, of the untouched model.

    Linear layers, convolutions, the gains and shifts of layer norm and of batch norm in evaluation mode, embeddings and
    added biases are recognised on the autograd graph, whatever Python called, and compared without forming their
    gradients where that is cheaper (see `products`); this takes two forwards, and for each surrogate and draw one
    backward to the layers' outputs. A chain (`chains`: linear and convolution layers, pooling and activations, one
    after the other) takes one forward, and the error signals of up to ten surrogates travel together. Of all other
    parameters (those of a transposed convolution, of a product inside a custom function, weights that are computed from
    parameters, a token that is repeated for each sample) the gradients are formed one sample at a time: another
    backward of the whole batch for each sample, surrogate and draw.

    Numbers: error signals are computed in the model's dtype, as torch does. Sums over them run in float64, and the
    angle is taken of the difference g~ - c g itself (c: the slope of g~ on g), so in float32 it is accurate to about
    1e-7 kappa radians, kappa = sum_t \|d_t\|\|x_t\| / \|g\| over the positions t of a layer (1 for a linear layer on
    vectors), which is what the error signals' own rounding leaves; equal gradients have the angle 0. In float64 the
    sums over pairs of positions add at most about 1e-8 kappa. Squares below 1e-308 count as 0.

    Args:
        model: as in `measure`. Each tensor that it returns counts the samples in its first dimension.
        loss: as in `measure`; it is called on detached outputs, and some times more on other outputs.
        batch: as in `measure`.
        surrogates: as in `measure`.
        activations: as in `measure`.
        draws: how many draws of each random surrogate, the same as those of `measure`.
        seed: as in `measure`.
        network: coordinate, copied into each row.
        stage: coordinate, copied.
        step: coordinate, copied.

    Returns:
        The columns of `measure`, a row for each surrogate, draw, layer and sample; ``sample`` is its place in the batch
        as text. Signs are not counted: ``kept`` to ``nonzero_fraction`` are missing. Undefined numbers are missing,
        with the reason in each row.

    Raises:
        Refused: as `measure`; the samples act on one another, in the model (batch norm in training mode), or in the
            loss; the loss depends on parameters directly (weight decay); the output's first dimension does not count
            the samples; two runs of one forward give different outputs.

    >>> import torch
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> table = per_sample(model, torch.nn.functional.mse_loss, (torch.randn(2, 3), torch.randn(2, 1)), "constant")
    >>> table[["layer", "sample", "state"]].to_string(index=False, header=False).split()[:6]
    ['0', '0', 'defined', '0', '1', 'defined']
    """
    found, said = comparison(model, loss, batch, surrogates, activations=activations, draws=draws, seed=seed)
    table = frame(found, Coordinates(network, stage, step, seed))
    table.attrs = provenance(seed=seed, **said)
    return table


def comparison(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    *,
    activations: Sequence[Any] | None = None,
    draws: int = 1,
    seed: int = 0,
) -> tuple[Comparison, dict[str, Any]]:
    """The numbers of `per_sample` as tensors, and what its table says about itself."""
    chosen = chosen_from(surrogates, CALLER)
    count(draws, "draws", "at least one draw of each random surrogate is needed.", CALLER)
    seeded(seed, CALLER)
    setting = Setting.of(model, loss, batch, CALLER)
    check_modules(model)
    with untouched(model, setting.owned, seed) as again:
        along = Chain.of(setting, activations)
        if along is not None:
            found, criterion = _along(setting, along, activations, chosen, draws, seed)
            unreached: list[str] = []
        else:
            with eagerly(model):
                found, criterion, unreached = _through(setting, again, activations, chosen, draws, seed)
    return found, {
        "device": str(setting.parameters[0].device),
        "training": any(module.training for module in model.modules()),
        "remarks": remarks(model),
        "loss": criterion.value,
        "unreached": unreached,
        "reference": {"name": "exact"},
    }


def _along(
    setting: Setting, chain: Chain, activations: Sequence[Any] | None, chosen: Mapping[str, Any], draws: int, seed: int
) -> tuple[Comparison, Criterion]:
    """Without a graph, where the model is a chain."""
    keys = chain.activations if activations is None else list(activations)
    criterion = _criterion(setting, Outputs(chain.output.requires_grad_()))
    (derivative,) = criterion.derivative
    assert derivative is not None
    generator = torch.Generator().manual_seed(seed)
    mapping = {key: list(chosen.values()) for key in keys}
    choices, by_path = chain.products(setting, derivative, mapping, draws, generator)
    of_layer = layers(setting.model, [stage.module for stage in chain.stages])
    by_layer = {index: [by_path[layer.path]] for index, layer in enumerate(of_layer) if layer.path in by_path}
    names = list(chosen)
    return Comparison(
        tuple(groups(of_layer, by_layer, {})),
        tuple(names[index] for index, _ in choices),
        tuple(draw for _, draw in choices),
        "+".join(keys),
        len(derivative),
    ), criterion


def _through(
    setting: Setting,
    again: Callable[[], None],
    activations: Sequence[Any] | None,
    chosen: Mapping[str, Any],
    draws: int,
    seed: int,
) -> tuple[Comparison, Criterion, list[str]]:
    """Through the autograd graphs of the model as it is and of the model untied."""
    model = setting.model
    returned: list[Any] = []
    hooked, since = _Hooks(), clock()

    def native() -> None:
        with torch.enable_grad(), hooked:
            returned.append(setting.output())

    observation = observe(model, native)
    keys = observation.asked(activations, CALLER)
    if any(getattr(node, "_forward_cls", None) is Replaced for node in graph(returned, since)):
        raise Refused(
            f"{CALLER}(model=...): the model is inside an open `with untie(...)` block, so its own gradient is not the "
            f"exact one. Measure outside of the block, or a copy of the model (copy.deepcopy)."
        )
    if "heaviside" in observation.activations:  # torch has no derivative for it
        again()
        with untie(model, {"heaviside": TIED}):
            returned = [setting.output()]
    outputs = Outputs(returned.pop())
    _counted(outputs, setting)
    criterion = _criterion(setting, outputs)
    reference = Run(outputs, criterion.derivative, setting.parameters)
    reference.uses.apart &= not hooked.found  # a hook may do anything
    exact = Exact(reference, setting.parameters)
    flat: frozenset[int] = frozenset()
    if not FLAT.isdisjoint(observation.activations):
        again()
        with stepping(model, marking):
            flat = below(Run(Outputs(setting.output()), criterion.derivative, ()).value(), setting.parameters)
    again()
    mapping = {key: list(chosen.values()) for key in keys}
    with untie(model, mapping, torch.Generator().manual_seed(seed)) as untied:
        under = Outputs(setting.output())
        _same(outputs, under)
        found = compare(
            exact,
            Run(under, criterion.derivative, setting.parameters),
            untied,
            layers(model, observation.order),
            names=list(chosen),
            flat={id(setting.parameters[i]): flatness(observation.activations) for i in flat},
            draws=draws,
            seed=seed,
        )
    return found, criterion, [str(each) for each in untied.unreached]


def _criterion(setting: Setting, outputs: Outputs) -> Criterion:
    """The loss at these outputs; a sum over the samples."""
    random = _random_state()
    criterion = Criterion(setting.loss, setting.y, outputs, setting.model)

    def derivative(tensors: Sequence[Tensor]) -> list[Tensor]:
        _random_state(random)
        return criterion.at(tensors)

    if not criterion.additive:
        check_loss(derivative, outputs.tensors, criterion.derivative)
    return criterion


class _Hooks(TorchFunctionMode):
    """Sees whether the model puts a hook on a tensor, which leaves no trace on the graph."""

    found = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Passes the call on."""
        self.found = self.found or func is Tensor.register_hook
        return func(*args, **(kwargs or {}))


def _counted(outputs: Outputs, setting: Setting) -> None:
    """Refuses an output whose first dimension is not that of any input or target."""
    counts = {len(leaf) for leaf in tree_leaves((setting.x, setting.y)) if isinstance(leaf, Tensor) and leaf.ndim}
    if outputs.samples not in counts:
        raise Refused(
            f"{CALLER}(model=...): the output has shape {tuple(outputs.tensors[0].shape)}, and its first dimension "
            f"must count the samples; no tensor of the batch has {outputs.samples} in its first dimension."
        )


def _same(one: Outputs, other: Outputs) -> None:
    pairs = list(zip(one.tensors, other.tensors, strict=False))
    if len(one.tensors) != len(other.tensors) or not all(torch.equal(a, b) for a, b in pairs):
        raise Refused(
            f"{CALLER}(model=...): two runs of one forward gave different outputs; the model keeps a state of its own, "
            f"so no two gradients can be compared."
        )


def _random_state(state: tuple[Tensor, list[Tensor]] | None = None) -> tuple[Tensor, list[Tensor]]:
    """Torch's random state, put back first where one is given: a loss that draws then draws the same."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if state is not None:
        torch.set_rng_state(state[0])
        if cuda:
            torch.cuda.set_rng_state_all(state[1])
        return state
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else []
