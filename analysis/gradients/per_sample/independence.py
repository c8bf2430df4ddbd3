"""Whether the samples of a batch act on one another; what a gradient per sample would then mean is refused.

Two tests, both on numbers that are at hand. The loss: where half of the outputs change, its derivative by the other
half must stay. The model: where the derivative by the output is multiplied by a power of two for each sample (which no
rounding can disturb), every error signal must be multiplied by that of one sample; this also tells which rows of a
layer belong to which sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...errors import Refused
from .maps.map import Layout

Derivative = Callable[[Sequence[Tensor]], list[Tensor]]
"""The loss's derivative by the model's outputs, as a function of them."""

REMEDY = "Measure them one by one: each sample as a batch of its own."


def check_modules(model: nn.Module) -> None:
    """Refuses batch norm that uses the batch's statistics.

    Raises:
        Refused: with the module's path.
    """
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            why = "is in training mode" if module.training else "keeps no running statistics"
            raise Refused(
                f"per_sample(model=...): the {type(module).__name__} {path or 'itself'} {why} and normalises each "
                f"sample by the whole batch, so no gradient belongs to one sample alone. "
                + ("Call model.eval() first." if module.training else REMEDY)
            )


def check_loss(derivative: Derivative, outputs: Sequence[Tensor], found: Sequence[Tensor | None]) -> None:
    """Refuses a loss that compares samples with one another.

    The samples are split in two for each binary digit of their number, so that each two are apart once.

    Args:
        derivative: of the loss.
        outputs: at which it was taken, [B, ...] each.
        found: what it gave; ``None`` for zero.

    Raises:
        Refused: the derivative by some samples' outputs depends on the outputs of others.
    """
    samples = len(outputs[0])
    number = torch.arange(samples, device=outputs[0].device)
    plain = [each.detach() for each in outputs]
    # Any row of the same kind is a valid output; halved and shifted it is another one even where all are equal, and
    # stays within [0, 1] where a loss asks for that.
    other = [0.5 * each[:1] + 0.25 for each in plain]
    expected = [torch.zeros_like(o) if g is None else g for o, g in zip(plain, found, strict=True)]
    for digit in range((samples - 1).bit_length()):
        change = (number >> digit & 1).bool()
        changed = [torch.where(_column(change, o), row, o) for o, row in zip(plain, other, strict=True)]
        for before, after in zip(expected, derivative(changed), strict=True):
            if not _near(torch.where(_column(change, after), before, after), before):
                raise Refused(
                    "per_sample(loss=...): the loss compares samples with one another (its derivative by the output of "
                    f"some samples changes with the output of others), so no gradient belongs to one alone. {REMEDY}"
                )


def factors(samples: int, seed: int, like: Tensor) -> Tensor:
    """A power of two for each sample, different ones for up to 8 samples."""
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
    return torch.exp2((order % 8).to(like.dtype)).to(like.device)


def layout(error: Tensor, scaled: Tensor, by: Tensor) -> Layout | None:
    """How the rows of an error signal belong to the samples; ``None`` where that is neither of the two usual ways.

    Args:
        error: [N, ...].
        scaled: the same with the derivative by each sample's output multiplied by its factor.
        by: the factors, [B].

    Raises:
        Refused: some entry follows the factor of no single sample.
    """
    samples = len(by)
    if len(error) % samples == 0:
        for first in (True, False):
            each = Layout(samples, first)
            if _near(each.split(scaled), (rows := each.split(error)) * _column(by, rows)):
                return each
    if len(error) % samples == 0 and not _follows(error.flatten(1), scaled.flatten(1), by):
        raise Refused(
            "per_sample(model=...): the samples of the batch act on one another inside the model (the error signal of "
            f"one depends on the loss of others), so no gradient belongs to one alone. {REMEDY}"
        )
    return None


def _follows(error: Tensor, scaled: Tensor, by: Tensor) -> bool:
    """Whether each row was multiplied by the factor of some sample."""
    largest = error.abs().argmax(1, keepdim=True)
    ratio = scaled.gather(1, largest) / error.gather(1, largest)
    ratio = torch.where(ratio.isfinite(), ratio, 1.0)
    nearest = torch.exp2(torch.log2(ratio.clamp_min(0.5)).round()).clamp_max(by.max())
    return _near(scaled, error * nearest)


def _near(found: Tensor, expected: Tensor) -> bool:
    """Row by row, to eps^(3/4) of the row's largest entry: 6e-6 in float32, 2e-12 in float64."""
    if found.numel() == 0:
        return True
    apart, size = (
        (each.flatten(1) if each.ndim > 1 else each[:, None]).abs().amax(1) for each in (found - expected, expected)
    )
    return bool((apart <= torch.finfo(found.dtype).eps ** 0.75 * size).all())


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
