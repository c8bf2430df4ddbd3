"""What a replaced activation carries from its forward to its backward: psi, the choice among K of it, and the seed.

Everything is taken at forward time and travels on the autograd graph, so a backward on another thread, in another order
or repeated sees the same: context variables would not be visible there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import torch

from ...errors import Refused
from ...surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Factor:
    """psi of one call, with what can be known of it before any preactivation: a constant, random or neither."""

    surrogate: Surrogate
    constant: float | None = field(init=False)
    random: bool = field(init=False)

    def __post_init__(self) -> None:
        formula = self.surrogate.formula
        object.__setattr__(self, "constant", float(formula) if formula.is_number else None)
        object.__setattr__(self, "random", self.surrogate.random)


@dataclass
class Selector:
    """Which of K surrogates a backward takes, and which draw of its noise; shared by all places of one untied model."""

    count: int
    position: tuple[int, int] | None = None

    @contextmanager
    def at(self, choice: int, draw: int) -> Iterator[None]:
        """Backwards inside the block take surrogate number ``choice`` and draw number ``draw``."""
        before, self.position = self.position, (choice, draw)
        try:
            yield
        finally:
            self.position = before

    def __call__(self) -> tuple[int, int]:
        """The choice in force."""
        if self.position is not None:
            return self.position
        if self.count == 1:
            return 0, 0
        raise Refused(
            f"backward: {self.count} surrogates were given to one forward, and nothing says which of them this "
            f"backward takes. Loop over `untied.replay(loss, parameters)`, or choose one: `with untied.choose(k):`. "
            f"A batched backward (is_grads_batched=True) is ONE backward: all its rows take the surrogate chosen."
        )


@dataclass
class Tally:
    """How often one place was replaced: calls of its forward, and backwards through them."""

    forward: int = 0
    backward: int = 0


@dataclass(frozen=True)
class Backward:
    """The backward of one replaced call: g, u -> g psi(u)."""

    factors: tuple[Factor, ...]
    selector: Selector
    seed: int
    tally: Tally

    @property
    def needs_preactivation(self) -> bool:
        """Whether any of the K factors depends on u or on its shape."""
        return any(factor.constant is None for factor in self.factors)

    def __call__(self, upstream: torch.Tensor, preactivation: torch.Tensor | None) -> torch.Tensor:
        """The upstream gradient (or the tangent) times psi."""
        choice, draw = self.selector()
        factor = self.factors[choice]
        self.tally.backward += 1
        if factor.constant is not None:
            return upstream if factor.constant == 1 else upstream * factor.constant
        assert preactivation is not None
        generator = None
        if factor.random:
            # A generator of its own for every call, choice and draw: neither the order nor the thread of the backward
            # matters, and a second backward over the same graph repeats the draw.
            generator = torch.Generator(device=preactivation.device)
            generator.manual_seed(mix(self.seed, choice, draw))
        psi = factor.surrogate(preactivation, generator=generator)
        return (upstream * psi).to(preactivation.dtype)


def mix(*numbers: int) -> int:
    """A 63-bit number that depends on all the given ones and on their order."""
    packed = struct.pack(f"<{len(numbers)}Q", *(number % 2**64 for number in numbers))
    return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little") >> 1


def fingerprint(generator: torch.Generator) -> int:
    """A 63-bit number that depends on the generator's whole state, which it leaves as it is."""
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(blake2b(state, digest_size=8).digest(), "little") >> 1
