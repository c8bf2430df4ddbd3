"""The one autograd function of the project: the value of an activation with another derivative, and what it carries.

Everything that a backward needs is taken at forward time and travels on the autograd graph, so a backward on another
thread, in another order or repeated sees the same: context variables would not be visible there. The function works
under every transform of ``torch.func`` (explicit ``setup_context``, ``vmap`` and ``jvp``), and its backward is
differentiable through psi's own derivative.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import torch
from torch.autograd import forward_ad

from ...errors import Refused
from ...surrogates.formula.evaluation import at_once, product
from ...surrogates.formula.numerics.window import multiplier
from ...surrogates.surrogate import Surrogate

Native = Callable[..., torch.Tensor]

_LARGE = 1 << 13
"""Entries from which a copy costs more than the look at whether it can wait."""

# Looked up once: at a small layer the way to a function costs as much as the function.
_transforming = torch._C._are_functorch_transforms_active
_unwrapped = torch._C._functorch.unwrap_if_dead
_packing = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: True)

# Saved beside the preactivation. A checkpoint that recomputes the forward natively would put the activation's OUTPUT
# where the preactivation was; it meets a missing or misshapen tensor here instead, and that cannot pass in silence.
_MARK = torch.empty(0, dtype=torch.bool)


@dataclass(frozen=True)
class Factor:
    """psi of one call, with what can be known of it before any preactivation.

    Attributes:
        surrogate: psi.
        formula: its.
        constant: its value where it depends neither on u nor on noise.
        random: whether it depends on noise.
        native: torch's own step back, from the upstream gradient and the activation's value, where psi is the
            derivative of the activation and torch has one with the same limits at infinities, and NaN at NaN.
    """

    surrogate: Surrogate
    formula: Any
    constant: float | None
    random: bool
    native: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None


@lru_cache(maxsize=1024)
def factor(surrogate: Surrogate) -> Factor:
    """The factor of a surrogate; asking SymPy takes longer than a training step, hence the cache."""
    formula = surrogate.formula
    return Factor(surrogate, formula, float(formula) if formula.is_number else None, surrogate.random)


@dataclass
class Selector:
    """Which of K surrogates a backward takes, and which draw of its noise; shared by all places of one untied model."""

    count: int
    position: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.count == 1 and self.position is None:
            self.position = 0, 0

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


@dataclass(slots=True)
class Backward:
    """The backward of one replaced call: g, u -> g psi(u).

    Attributes:
        factors: the K factors.
        selector: which of them.
        seed: of this call's noise; 0 where no factor is random.
        tally: counts the backwards.
        needs_preactivation: whether any of the K factors depends on u or on its shape.
        needs_value: whether torch's own step back serves any of them.
    """

    factors: tuple[Factor, ...]
    selector: Selector
    seed: int
    tally: Tally
    needs_preactivation: bool
    needs_value: bool = False

    def __call__(
        self, upstream: torch.Tensor, preactivation: torch.Tensor | None, value: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The upstream gradient (or the tangent) times psi; ``value`` is the activation's, where it is at hand."""
        choice, draw = self.selector.position or self.selector()
        chosen = self.factors[choice]
        self.tally.backward += 1
        if chosen.constant is not None:
            return upstream if chosen.constant == 1 else upstream * chosen.constant
        assert preactivation is not None
        if value is not None and chosen.native is not None and at_once(value, upstream):
            return chosen.native(upstream, value)
        if not chosen.random and at_once(preactivation, upstream):
            return multiplier(chosen.formula, preactivation.dtype)(preactivation, upstream)
        generator = draws_of(self.seed, choice, draw, preactivation.device) if chosen.random else None
        return product(chosen.formula, preactivation, upstream, generator=generator)


class Replaced(torch.autograd.Function):
    """forward: the native operation, bit for bit. Backward and tangent: times psi(u)."""

    @staticmethod
    def forward(
        preactivation: torch.Tensor, second: torch.Tensor | None, mark: torch.Tensor, native: Native, backward: Backward
    ) -> torch.Tensor:
        """The activation itself."""
        return native(preactivation) if second is None else native(preactivation, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        """Keeps u for the factors that depend on it."""
        preactivation, _, mark, _, ctx.rule = inputs
        ctx.marked = True
        saved = (mark, preactivation) if ctx.rule.needs_preactivation else (mark,)
        ctx.save_for_forward(*saved)
        if ctx.rule.needs_value and not torch._C._are_functorch_transforms_active():
            saved = (*saved, output)
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor | None, beside: torch.Tensor | None = None) -> Any:
        """(g psi(u), g): the second input, where it has a gradient, is the value itself; ``beside`` is u's own."""
        first, second, *_ = ctx.needs_input_grad
        gradient = ctx.rule(upstream, *_saved(ctx)) if first and upstream is not None else None
        if beside is not None:
            gradient = beside if gradient is None else gradient + beside
        return gradient, upstream if second else None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor | None, second: torch.Tensor | None, *_: Any) -> Any:
        """The tangent times psi(u), plus that of the second input."""
        moved = None if tangent is None else ctx.rule(tangent, *_saved(ctx))
        if moved is None or second is None:
            return second if moved is None else moved
        return moved + second

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        preactivation: torch.Tensor,
        second: torch.Tensor | None,
        mark: torch.Tensor,
        native: Native,
        backward: Backward,
    ) -> tuple[torch.Tensor, int]:
        """Elementwise, so the batch is one more dimension, put in front."""
        dim, second_dim, *_ = in_dims
        u = (
            preactivation.expand(info.batch_size, *preactivation.shape)
            if dim is None
            else preactivation.movedim(dim, 0)
        )
        if second is not None and second_dim is not None:
            second = second.movedim(second_dim, 0)
            second = second.reshape(second.shape[0], *(1,) * (u.ndim - second.ndim), *second.shape[1:])
        return apply(u, second, native, backward), 0


class _Direct(Replaced):
    """The same where no transform and no forward mode is at work.

    torch calls one function where it would call two, and the copy of u is an output of the node itself, so that it
    needs no node of its own: its gradient is there only where psi is differentiated.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, preactivation: torch.Tensor, second: torch.Tensor | None, _: None, native: Native, backward: Backward
    ) -> Any:
        """The activation itself, and u for the factors that depend on it."""
        ctx.rule = backward
        # Where no hook packs what is saved, nothing else can be unpacked.
        ctx.marked = _packing(True) is not None
        mark = (_MARK,) if ctx.marked else ()
        if not backward.needs_preactivation:
            ctx.save_for_backward(*mark)
            return native(preactivation) if second is None else native(preactivation, second)
        ctx.set_materialize_grads(False)
        u = preactivation.clone() if preactivation.numel() < _LARGE else kept(preactivation)
        output = native(preactivation) if second is None else native(preactivation, second)
        ctx.save_for_backward(*mark, u, *((output,) if backward.needs_value else ()))
        return output, u

    setup_context = torch.autograd.function._SingleLevelFunction.setup_context


def _joined() -> Any:
    """`_Direct`'s own ``apply``, with the node that it makes."""
    node: Any = _Direct._backward_cls
    # A node of the graph is known by the function that made it, and both make the same node.
    node._forward_cls = Replaced
    # Else torch looks at each backward anew which function of ours it is to call.
    node.apply = Replaced.backward
    return super(torch.autograd.Function, _Direct).apply


_applied = _joined()


def apply(preactivation: torch.Tensor, second: torch.Tensor | None, native: Native, backward: Backward) -> torch.Tensor:
    """`Replaced` at these arguments.

    Args:
        preactivation: u.
        second: a tensor that the value depends on beside u: Heaviside's value at zero, or the value itself.
        native: computes the value from u, and from ``second`` where there is one.
        backward: the backward.
    """
    if _transforming() or forward_ad._current_level >= 0:
        preactivation = preactivation.clone() if backward.needs_preactivation else preactivation
        return Replaced.apply(preactivation, second, _MARK, native, backward)  # type: ignore[no-any-return, no-untyped-call]
    # Function.apply would first bind the arguments to forward's signature, which takes four times as long as the rest.
    output = _applied(_unwrapped(preactivation), second, None, native, backward)
    return output[0] if backward.needs_preactivation else output  # type: ignore[no-any-return]


def kept(given: torch.Tensor) -> torch.Tensor:
    """A copy of a large preactivation, for the backward.

    The native operation may save its output instead of its input, and then allows the input to change afterwards. On a
    CPU a large one is copied only when it changes: a pass over memory less, and a tensor less in it. A part of a larger
    tensor is copied at once, so that it does not keep the whole.

    Torch does not see what is written through a pointer taken before the call, such as a NumPy view of the
    preactivation: written to between forward and backward, it changes what a large preactivation's gradient is of, as
    in every operation of torch's own that saves its input.
    """
    if given.is_cpu and given.__class__ is torch.Tensor:
        try:
            if given.untyped_storage().nbytes() == given.numel() * given.itemsize:
                return getattr(torch, "_lazy_clone", torch.clone)(given)
        except RuntimeError:  # memory that is not torch's own, e.g. NumPy's; or not one piece: a sparse tensor's
            pass
    return given.clone()


def _saved(ctx: Any) -> tuple[torch.Tensor | None, ...]:
    """u, and the value where it was kept; a missing u is ``None``."""
    saved: tuple[torch.Tensor, ...] = ctx.saved_tensors
    if not ctx.marked:
        return saved or (None,)
    mark, *rest = saved
    if mark is not _MARK and (mark.dtype != torch.bool or mark.shape != (0,)):
        raise Refused(
            "backward: a checkpoint recomputed the forward natively, outside the `with untie(...)` block. Keep the "
            "backward inside the block."
        )
    return tuple(rest) or (None,)


def draws_of(seed: int, choice: int, draw: int, device: torch.device) -> torch.Generator:
    """The generator of one call's noise, for one surrogate and draw.

    Each has its own: neither the order nor the thread of the backward matters, and a second backward over the same
    graph repeats the draw.
    """
    return torch.Generator(device=device).manual_seed(mix(seed, choice, draw))


def mix(*numbers: int) -> int:
    """A 63-bit number that depends on all the given ones and on their order."""
    packed = struct.pack(f"<{len(numbers)}Q", *(number % 2**64 for number in numbers))
    return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little") >> 1


def fingerprint(generator: torch.Generator) -> int:
    """A 63-bit number that depends on the generator's whole state, which it leaves as it is."""
    state = generator.get_state().numpy().tobytes()
    return int.from_bytes(blake2b(state, digest_size=8).digest(), "little") >> 1
