"""One forward, and the backwards that start at its outputs with a derivative of the loss that is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from ...errors import Refused
from ..inputs import scalar
from ..untie.untied import Choice, Untied
from .maps.apart import additive
from .maps.graph import Uses, uses
from .maps.products import Products, beside, products, together

Loss = Callable[[Any, Any], Tensor]


class Outputs:
    """What the model returned: the tensors in it that have a gradient, [B, ...] each.

    Raises:
        Refused: they do not count one number of samples in their first dimensions, or there are none.
    """

    def __init__(self, returned: Any) -> None:
        self._leaves, self._tree = tree_flatten(returned)
        self._places = [i for i, each in enumerate(self._leaves) if isinstance(each, Tensor) and each.requires_grad]
        self.tensors: list[Tensor] = [self._leaves[i] for i in self._places]
        shapes = [tuple(each.shape) for each in self.tensors]
        if not shapes:
            raise Refused("per_sample(model=...): the model's output does not depend on any trained parameter.")
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise Refused(
                f"per_sample(model=...): the output has the shape {', '.join(map(str, shapes))}, and the first "
                f"dimension of each part must count the samples of the batch."
            )
        self.samples: int = shapes[0][0]

    def put(self, tensors: Sequence[Tensor]) -> Any:
        """The output with other tensors in its place."""
        leaves = list(self._leaves)
        for i, each in zip(self._places, tensors, strict=True):
            leaves[i] = each
        return tree_unflatten(leaves, self._tree)


class Criterion:
    """The loss as a function of the outputs alone.

    Args:
        loss: of an output and the target.
        target: of the batch.
        outputs: of the model.

    Attributes:
        value: of the loss.
        derivative: by each output; ``None`` by one that it does not use.
        additive: whether it is known to be a sum over the samples.

    Raises:
        Refused: the loss is no finite scalar, depends on no output, or depends on the parameters in another way too.
    """

    def __init__(self, loss: Loss, target: Any, outputs: Outputs, model: nn.Module) -> None:
        self._loss, self._target, self._outputs = loss, target, outputs
        leaves, value = self._value(outputs.tensors)
        if not value.requires_grad:
            raise Refused(
                "per_sample(loss=...): the loss does not depend on any trained parameter, so it has no gradient."
            )
        named = {name: each for name, each in model.named_parameters() if each.requires_grad}
        straight = uses([value.grad_fn], list(named.values()), outputs.samples)
        for name, parameter in named.items():
            if straight.reached(parameter):
                raise Refused(
                    f"per_sample(loss=...): the loss depends on the parameter {name} directly, not only through the "
                    f"model's output, and that part of the gradient belongs to no sample. Leave it out (weight decay, "
                    f"for instance)."
                )
        self.additive = additive(value.grad_fn, outputs.samples)
        self.value = float(value.detach())
        self.derivative: list[Tensor | None] = list(torch.autograd.grad(value, leaves, allow_unused=True))

    def at(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The derivative by other outputs."""
        leaves, value = self._value(tensors)
        found: Sequence[Tensor | None] = torch.autograd.grad(value, leaves, allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]

    def _value(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        leaves = [each.detach().requires_grad_() for each in tensors]
        copies = [each.clone() for each in leaves]  # the loss may work in place
        return leaves, scalar(self._loss(self._outputs.put(copies), self._target), "per_sample")


class Run:
    """The graph of one forward.

    Args:
        outputs: of the forward.
        derivative: of the loss by them.
        parameters: those that require a gradient.
    """

    def __init__(self, outputs: Outputs, derivative: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> None:
        pairs = [(o, g) for o, g in zip(outputs.tensors, derivative, strict=True) if g is not None]
        self._outputs, self._derivative = [o for o, _ in pairs], [g for _, g in pairs]
        self.samples = outputs.samples
        self.uses: Uses = uses([each.grad_fn for each in self._outputs], parameters, outputs.samples)

    def value(self, by: Tensor | None = None) -> Tensor:
        """A scalar whose derivative by the outputs is the loss's, times a factor for each sample."""
        total: Any = 0
        for output, derivative in zip(self._outputs, self._derivative, strict=True):
            seed = (
                derivative
                if by is None
                else derivative * by.to(derivative.dtype).reshape(-1, *(1,) * (derivative.ndim - 1))
            )
            total = total + (output * seed).sum()
        return total  # type: ignore[no-any-return]

    def errors(self, maps: Sequence[int], by: Tensor | None = None, *, keep: bool = True) -> list[Tensor]:
        """The error signals at these maps, row by row; the graph can be used again where it is kept."""
        if not maps:
            return []
        chosen = [self.uses.maps[i] for i in maps]
        found = torch.autograd.grad(self.value(by), [each.edge for each in chosen], retain_graph=keep)
        return [each.rows(error) for each, error in zip(chosen, found, strict=True)]

    def replay(self, untied: Untied, maps: Sequence[int], draws: int) -> Iterator[tuple[Choice, list[Tensor]]]:
        """The error signals at these maps under each surrogate and draw."""
        chosen = [self.uses.maps[i] for i in maps]
        edges: list[Any] = [each.edge for each in chosen]
        if not edges:
            edges = [self._outputs[0]]
        for choice, found in untied.replay(self.value(), edges, draws=draws):
            yield choice, [each.rows(error) for each, error in zip(chosen, found, strict=False) if error is not None]

    def alone(self, parameters: Sequence[Tensor], sample: int) -> list[Tensor]:
        """One sample's gradient by these parameters: a backward of the whole batch with the other samples masked."""
        mask = torch.zeros(len(self._outputs[0]), device=self._outputs[0].device)
        mask[sample] = 1
        found: Sequence[Tensor | None] = torch.autograd.grad(
            self.value(mask), list(parameters), retain_graph=True, allow_unused=True
        )
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


class Exact:
    """A run's error signals at every map of a parameter that is used in no other way, and what the maps were given.

    The run's graph is let go where nothing else is to be asked of it, before the next forward needs the memory.

    Attributes:
        run: the run.
        errors: by place of the map, row by row.
        given: the same; ``None`` where the map has a bias alone.
        kept: whether the graph is still there.
    """

    def __init__(self, run: Run, parameters: Sequence[Tensor]) -> None:
        of = {id(parameter): run.uses.of(parameter) for parameter in parameters if run.uses.reached(parameter)}
        maps = sorted({i for places in of.values() for i, _ in places})
        self.run = run
        self.kept = not run.uses.apart or not all(of.values())
        self.given = {i: run.uses.maps[i].given() for i in maps}
        self.errors = dict(zip(maps, run.errors(maps, keep=self.kept), strict=True))


def formed(
    reference: Run, surrogate: Run, untied: Untied, choices: Sequence[Choice], parameters: Sequence[Tensor]
) -> Products:
    """Of any parameters: a backward for each sample and choice, through the whole batch with the others masked."""
    each = []
    for sample in range(reference.samples):
        exact = reference.alone(parameters, sample)
        kinds = []
        for choice in choices:
            with untied.choose(choice.index, choice.draw):
                found = surrogate.alone(parameters, sample)
            pairs = zip(exact, found, strict=True)
            kinds.append(
                together(
                    [products(None, g.reshape(1, 1, 1, -1), e.reshape(1, 1, 1, 1, -1), bias=True) for g, e in pairs]
                )
            )
        each.append(beside(kinds, samples=False))
    return beside(each, samples=True)
