"""All surrogate gradients of a chain on one batch, or only how far each deviates from the exact one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Refused
from ...surrogates.activations import ACTIVATIONS
from ..deviation import Deviation
from ..layers import Observation
from ..untie.matching import Rule, rules
from ..untie.untied import Choice
from . import metrics
from .factors import Member, Place, multiples, places
from .stages import Activating
from .structure import chain, trained
from .walk import GROUP, Forward, Sums, inputs, sums

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Found:
    """One surrogate, or one draw of it.

    Attributes:
        choice: which.
        layers: its deviation from the exact gradient, by the path of each layer with a trained parameter.
        whole: of all trained parameters together.
    """

    choice: Choice
    layers: Mapping[str, Deviation]
    whole: Deviation


def gradients(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    replacements: Mapping[Any, Any],
    parameters: Sequence[nn.Parameter],
    *,
    draws: int = 1,
    generator: torch.Generator | None = None,
    known: Sequence[Tensor | None] = (),
    ran: Observation | None = None,
) -> Iterator[tuple[Choice, tuple[Tensor | None, ...]]] | None:
    """What ``untie(model, replacements, generator).replay`` yields, to rounding and at the same draws.

    Args:
        model: a chain (`structure.chain`).
        loss: ``loss(model(x), y)``, a scalar.
        batch: ``(x, y)``.
        replacements: as for `untie`.
        parameters: what to differentiate by; those that require no gradient get ``None``.
        draws: of each random surrogate.
        generator: of the draws, moved on as `untie` moves it.
        known: torch's own gradient by each of ``parameters``, where it is at hand. It is every surrogate's, to the bit,
            for the layers that no untied activation follows.
        ran: the model's own forward on this batch, with the inputs kept, where it is at hand: there is no other then.

    Returns:
        (choice, gradients) one after the other, in the order of ``replay``; ``None`` where the model is no chain or the
        loss depends on its parameters by another way than its output.

    Raises:
        Refused: ``draws`` is below 1, or a name is unknown.
    """
    begun = _begin(model, loss, batch, replacements, draws, generator, {id(each) for each in parameters}, ran)
    return None if begun is None else _gradients(begun, parameters, known)


def deviations(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    replacements: Mapping[Any, Any],
    *,
    draws: int = 1,
    generator: torch.Generator | None = None,
    ran: Observation | None = None,
) -> Iterator[Found] | None:
    """How far each surrogate's gradient deviates from the exact one, without forming it where that is cheaper.

    As `gradients`; the reference is torch's own gradient. The counts of signs and zeros need the gradient's entries:
    they are ``None`` here, and so are the shares made of them. The other numbers are those of
    ``deviation(gradient, exact)`` to rounding.

    >>> import downslope as ds
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    >>> batch = torch.randn(8, 3), torch.randn(8, 1)
    >>> found = deviations(model, nn.functional.mse_loss, batch, {"tanh": ["tied", "constant"]})
    >>> [each.layers["2"].angle_degrees for each in found]
    [0.0, 0.0]
    """
    wanted = {id(parameter) for parameter in model.parameters()}
    begun = _begin(model, loss, batch, replacements, draws, generator, wanted, ran)
    return None if begun is None else _deviations(begun)


@dataclass(frozen=True)
class _Begun:
    """A forward, and the backwards that are to follow it."""

    forward: Forward
    rules: tuple[Rule, ...]
    draws: int

    @property
    def choices(self) -> list[Choice]:
        """All of them, in the order of ``replay``."""
        found, labels = [], {rule.key: rule.labels for rule in self.rules}
        for index in range(len(self.rules[0].choices)):
            names = {key: those[index] for key, those in labels.items()}
            random = any(place.factors[index].random for place in self.forward.places.values())
            found += [Choice(index, draw, names) for draw in range(self.draws if random else 1)]
        return found


def _begin(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    replacements: Mapping[Any, Any],
    draws: int,
    generator: torch.Generator | None,
    wanted: set[int],
    ran: Observation | None,
) -> _Begun | None:
    if draws < 1:
        raise Refused(f"draws={draws}: at least one draw of each random surrogate is needed.")
    asked, stages = rules(replacements), chain(model)
    x, y = batch
    if stages is None or not isinstance(x, Tensor) or x.requires_grad or torch.is_autocast_enabled(x.device.type):
        return None
    called = {stage.activation for stage in stages if isinstance(stage, Activating)}
    if any(ACTIVATIONS.get(rule.key) is not rule.target or rule.key not in called for rule in asked):
        return None
    owned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layers = trained(stages, wanted & {id(parameter) for parameter in owned})
    values = inputs(stages, x if ran is None else ran)
    if values is None or not layers or any(value.dtype not in (torch.float32, torch.float64) for value in values):
        return None
    with torch.enable_grad():
        output = values.pop().detach().requires_grad_()
        value: Any = loss(output.clone(), y)  # a loss may change what it is given
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            return None
        slopes: Sequence[Tensor | None] = torch.autograd.grad(value, [output, *owned], allow_unused=True)
    error = slopes[0]
    if error is None or any(other is not None for other in slopes[1:]):
        return None
    chosen = torch.default_generator if generator is None else generator
    found = places(stages, {rule.key: rule for rule in asked}, chosen)
    return _Begun(Forward(stages, tuple(values), error, found, layers), asked, draws)


def _groups(choices: Sequence[Choice], places: Mapping[str, Place]) -> Iterator[list[tuple[Choice, Member, float]]]:
    """The choices in their order, cut into groups of as many as may travel together, multiples with their base."""
    count = 1 + max(choice.index for choice in choices)
    base = multiples(list(places.values()), count)
    listed = [(each, Member(base[each.index][0], each.draw), base[each.index][1]) for each in choices]
    members = len({member for _, member, _ in listed})
    size = ceil(members / ceil(members / GROUP))
    group: list[tuple[Choice, Member, float]] = []
    for entry in listed:
        met = {member for _, member, _ in group}
        if entry[1] not in met and len(met) == size:
            yield group
            group = []
        group.append(entry)
    yield group


def _gradients(
    begun: _Begun, parameters: Sequence[nn.Parameter], known: Sequence[Tensor | None]
) -> Iterator[tuple[Choice, tuple[Tensor | None, ...]]]:
    forward, above = begun.forward, begun.forward.above
    same: dict[int, Tensor | None] = {}
    if known:
        at_hand = {id(parameter): gradient for parameter, gradient in zip(parameters, known, strict=True)}
        last = [part for layer in forward.layers if not above[layer.path] for part in layer.module.parameters()]
        same = {id(part): at_hand[id(part)] for part in last if id(part) in at_hand}
        forward = replace(forward, layers=tuple(layer for layer in forward.layers if above[layer.path]))
    for group in _groups(begun.choices, forward.places):
        members = list(dict.fromkeys(member for _, member, _ in group))
        found = sums(forward, members) if forward.layers else {}
        for choice, member, factor in group:
            held = same | _by_parameter(forward, found, members.index(member), factor)
            yield choice, tuple(held.get(id(parameter)) for parameter in parameters)


def _by_parameter(forward: Forward, found: Mapping[str, Sums], index: int, factor: float) -> dict[int, Tensor | None]:
    """The gradients of one member times ``factor`` for each untied activation above them, by the parameters' ``id``."""
    held: dict[int, Tensor | None] = {}
    above = forward.above
    for layer in forward.layers:
        for parameter, part in ((layer.weight, found[layer.path].weight), (layer.bias, found[layer.path].bias)):
            if part is not None:
                one = part[index if len(part) > 1 else 0]
                held[id(parameter)] = one if factor == 1 else one * factor ** above[layer.path]
    return held


def _deviations(begun: _Begun) -> Iterator[Found]:
    choices, forward = begun.choices, begun.forward
    forward = replace(forward, rows=metrics.rows(forward, len(choices) + 1))
    reference: metrics.Reference | None = None
    exact = Member(None)
    for group in _groups(choices, forward.places):
        members = list(dict.fromkeys(member for _, member, _ in group)) + [exact] * (reference is None)
        found = sums(forward, members)
        if reference is None:
            reference = metrics.Reference(found, members.index(exact))
        for choice, member, factor in group:
            scales = {path: factor**count for path, count in forward.above.items()}
            known = reference.compare(found, members.index(member), scales)
            whole = known.pop(metrics.WHOLE)
            yield Found(choice, known, whole)
