"""All layers of a model, all surrogates and draws: the error signals of each backward, and their products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ...errors import Refused
from ..layers import Layer
from ..measuring.rows import WHOLE
from ..untie.untied import Choice, Untied
from .independence import factors, layout
from .maps.map import Layout
from .maps.products import Products, beside, together
from .maps.units import Call, Unit, products_of, units
from .runs import Exact, Run, formed

FROZEN = "the layer is frozen: no parameter of it requires a gradient"
UNUSED = "the layer is unused: the loss does not depend on its parameters"

AT_ONCE = 2**25
"""Bytes of error signals, of several surrogates, that are held at once."""


@dataclass(frozen=True)
class Group:
    """A layer, or the whole gradient.

    Attributes:
        path: of the layer.
        depth: as in `measure`.
        products: of its gradients; ``None`` where there are none.
        reason: why its direction is undefined for every sample; empty where that depends on the sample.
    """

    path: str
    depth: int
    products: Products | None
    reason: str


@dataclass(frozen=True)
class Comparison:
    """K backwards (a surrogate and a draw each) against the reference, for B samples.

    Attributes:
        groups: layer by layer, then the whole.
        surrogates: the name of each backward's surrogate.
        draws: the draw of each.
        activation: those that were replaced.
        samples: B.
    """

    groups: tuple[Group, ...]
    surrogates: tuple[str, ...]
    draws: tuple[int, ...]
    activation: str
    samples: int


def compare(
    exact: Exact,
    surrogate: Run,
    untied: Untied,
    of_layer: Sequence[Layer],
    *,
    names: Sequence[str],
    flat: Mapping[int, str],
    draws: int,
    seed: int,
) -> Comparison:
    """Every backward of the surrogates' run against the reference's.

    Args:
        exact: the model as it is.
        surrogate: the model untied.
        untied: chooses the backward.
        of_layer: the layers, in the order of the forward.
        names: of the surrogates.
        flat: why the reference is undefined, by the id of the parameters for which it is.
        draws: of each random surrogate.
        seed: of the factors that tell samples apart.
    """
    reference = exact.run
    found, rest = units(of_layer, reference.uses, surrogate.uses)
    if rest and not exact.kept:
        raise Refused(
            "per_sample(model=...): two runs of one forward took different ways through the model's layers, so no two "
            "gradients can be compared."
        )
    needed = sorted({i for unit in found for i in unit.maps})
    layouts = _layouts(reference, surrogate, untied, {i: exact.errors[i] for i in needed}, draws, seed)
    rest += [(unit.layer, unit.parameters) for unit in found if any(layouts[i] is None for i in unit.maps)]
    found = [unit for unit in found if all(layouts[i] is not None for i in unit.maps)]
    choices: list[Choice] = []
    parts: dict[Unit, list[Products]] = {unit: [] for unit in found}
    calls = {i: Call(reference.uses.maps[i], layouts[i], exact.given[i], exact.errors[i]) for i in needed}
    for some in _some(surrogate.replay(untied, needed, draws), sum(exact.errors[i].nbytes for i in needed)):
        choices += [choice for choice, _ in some]
        for unit, listed in parts.items():
            listed.append(
                products_of(unit, [calls[i].under([errors[needed.index(i)] for _, errors in some]) for i in unit.maps])
            )
    by_layer: dict[int, list[Products]] = {}
    for unit, listed in parts.items():
        by_layer.setdefault(unit.layer, []).append(beside(listed, samples=False))
    for index, parameters in rest:
        by_layer.setdefault(index, []).append(formed(reference, surrogate, untied, choices, parameters))
    return Comparison(
        tuple(groups(of_layer, by_layer, flat)),
        tuple(names[choice.index] for choice in choices),
        tuple(choice.draw for choice in choices),
        "+".join(rule.key for rule in untied.rules),
        reference.samples,
    )


def groups(
    of_layer: Sequence[Layer], by_layer: Mapping[int, list[Products]], flat: Mapping[int, str]
) -> Iterator[Group]:
    """The layers and the whole, from the products of the parts of each layer; ``flat`` is as in `compare`."""
    for index, layer in enumerate(of_layer):
        trained = [id(parameter) for parameter in layer.parameters if parameter.requires_grad]
        reason = next((flat[each] for each in trained if each in flat), "")
        if not trained:
            reason = FROZEN
        elif index not in by_layer:
            reason = UNUSED
        yield Group(layer.path, index + 1, together(by_layer[index]) if index in by_layer else None, reason)
    everything = [each for parts in by_layer.values() for each in parts]
    reason = next(iter(flat.values()), "") if everything else UNUSED
    yield Group(WHOLE, 0, together(everything) if everything else None, reason)


def _layouts(
    reference: Run, surrogate: Run, untied: Untied, exact: Mapping[int, Tensor], draws: int, seed: int
) -> dict[int, Layout | None]:
    """How the rows of each map belong to samples, read from the first backward whose error signal is not zero there."""
    samples = reference.samples
    by = factors(samples, seed, next(iter(exact.values()), torch.empty(0)))
    found: dict[int, Layout | None] = {}
    pending = list(exact)

    def settle(run: Run, errors: Mapping[int, Tensor]) -> None:
        telling = [i for i in pending if bool(errors[i].any())]
        for i, scaled in zip(telling, run.errors(telling, by), strict=True):
            found[i] = layout(errors[i], scaled, by)
            pending.remove(i)

    if reference.uses.apart:
        return {i: Layout(samples) for i in exact}
    settle(reference, exact)
    flat = pending.copy()
    for choice, errors in surrogate.replay(untied, flat, draws) if flat else ():
        with untied.choose(choice.index, choice.draw):
            settle(surrogate, dict(zip(flat, errors, strict=True)))
        if not pending:
            break
    zero = {i: Layout(samples) if len(exact[i]) % samples == 0 else None for i in pending}
    return found | zero


def _some(backwards: Iterator[tuple[Choice, list[Tensor]]], size: int) -> Iterator[list[tuple[Choice, list[Tensor]]]]:
    """As many at once as their error signals allow."""
    while some := list(islice(backwards, max(1, AT_ONCE // max(1, size)))):
        yield some
