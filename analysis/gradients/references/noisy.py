"""The model with noisy step units: each is 1 (or sign's +1) with probability Phi(z / sigma), given the layers below.

That is the step of z plus noise from N(0, sigma^2), drawn for each unit, sample and call by itself. The expected loss J
over this noise is smooth in the parameters, and its gradient is what the references here compute. What the model draws
by itself (dropout) is the same in every run, so J is conditional on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import Refused
from ..margin.walk.places import Place
from ..measuring.taking import Native
from .separate import Samples, samples
from .steps import FLAT, TWO_VALUED, stepping

Bits = Callable[[int, Tensor], Tensor]
"""``bits(call, preactivation)``: which units of a call are up; boolean, of the preactivation's shape."""


@dataclass(frozen=True)
class Noisy:
    """A model whose step units are noisy.

    Attributes:
        native: the model as it is.
        sigma: standard deviation of the noise at the preactivations.
        samples: how the batch falls apart.
        shapes: of the preactivation of each call, in order.
    """

    native: Native
    sigma: float
    samples: Samples
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, native: Native, sigma: float, label: str) -> Noisy:
        """Finds the calls.

        Raises:
            Refused: the model has no step unit, or one with more than two values.
        """
        caller = native.setting.caller
        ran = [name for name in native.activations if name in FLAT]
        if not ran:
            raise Refused(
                f"{caller}(reference={label!r}): the model runs no Heaviside or sign unit, so there is nothing to "
                f"smooth. Without steps its exact gradient is defined: reference='exact'. A step inside an "
                f"autograd.Function of your own is not seen: write it as torch.heaviside or torch.sign."
            )
        if several := [name for name in ran if name not in TWO_VALUED]:
            raise Refused(
                f"{caller}(reference={label!r}): the model runs {', '.join(several)}, which has more than two values; "
                f"the expectation over noise is that of Heaviside and sign units. Use reference='finite-difference'."
            )
        shapes: list[torch.Size] = []

        def note(_: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
            shapes.append(z.shape)
            return compute()

        native.again()
        with torch.no_grad(), stepping(native.setting.model, note):
            native.setting.output()
        return cls(native, sigma, samples(native.setting, native.again), tuple(shapes))

    @property
    def units(self) -> int:
        """Step units of one part of the batch, all calls together."""
        return sum(shape.numel() for shape in self.shapes) // self.samples.count

    @contextmanager
    def with_bits(self, bits: Bits) -> Iterator[list[Tensor]]:
        """While this is open, the step units take these values; the preactivations are noted, on the graph."""
        seen: list[Tensor] = []

        def force(place: Place, z: Tensor, _: Callable[[], Tensor]) -> Tensor:
            call = len(seen)
            if call >= len(self.shapes) or z.shape != self.shapes[call]:
                raise Refused(
                    f"{self.native.setting.caller}(model=...): the calls of its step units change with their values, "
                    f"so their patterns cannot be counted. Use reference='finite-difference'."
                )
            seen.append(z)
            low, high = TWO_VALUED[place.activation]
            up = bits(call, z.detach())
            return torch.where(up, torch.full_like(z, high), torch.full_like(z, low)).detach()

        self.native.again()
        with stepping(self.native.setting.model, force):
            yield seen

    def losses(self, bits: Bits) -> tuple[Tensor, list[Tensor]]:
        """The parts' losses at these values, and the preactivations, both on the graph."""
        with self.with_bits(bits) as seen:
            output = self.native.setting.output()
        if len(seen) != len(self.shapes):
            raise Refused(
                f"{self.native.setting.caller}(model=...): it makes {len(self.shapes)} calls of step units, and "
                f"{len(seen)} with other values of them, so their patterns cannot be counted."
            )
        return self.samples.losses(output), seen
