"""Planted mutants: each a surrogate with one thing wrong, and the check that is meant for it.

All start from one surrogate that is right: a step over ``1/(1 + |u|)^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import downslope as ds
import numpy as np
import sympy as sp
import torch
from downslope.analysis.surrogates.adapters import Adapted
from sympy.stats import Uniform

FORMULA = 1 / (1 + sp.Abs(ds.u)) ** 2
WINDOW = sp.Piecewise((1, sp.Abs(ds.u) <= sp.Rational(1, 2)), (0, True))
NOISY = Uniform("xi", 0, 1) * FORMULA


@dataclass(frozen=True)
class Mutant:
    """A wrong surrogate.

    Attributes:
        name: what is wrong.
        check: the check that must report a violation.
        build: makes it.
        related: other checks that see the same fault; no check beyond these may report one.
    """

    name: str
    check: str
    build: Callable[[], Adapted]
    related: frozenset[str] = frozenset()


def step(u: torch.Tensor) -> torch.Tensor:
    return (u > 0).to(u.dtype)


def bump(u: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + u.abs()) ** 2


def right(**declared: Any) -> Adapted:
    """The surrogate that is right."""
    return over(bump, **declared)


def over(factor: Callable[..., torch.Tensor], **declared: Any) -> Adapted:
    """A factor over the step."""
    return ds.adapt_factor(factor, forward=step, name="mutant", **declared)


def by_rule(rule: Callable[..., Any], **declared: Any) -> Adapted:
    """A rule ``(grad_out, u) -> grad_in`` over the step."""
    return ds.adapt_rule(lambda ctx, g, u: rule(g, u), forward=step, name="mutant", **declared)


def on(low: float, high: float, planted: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The right factor with another on one interval."""
    return lambda u: torch.where((u >= low) & (u <= high), planted(u), bump(u))


def forward_of(phi: Callable[[torch.Tensor], Any], forward: Any = "heaviside") -> Adapted:
    """A forward of one's own over the right factor, declared as another."""
    return ds.adapt(ds.adapt_factor(bump, forward=phi, name="mutant"), forward=forward)


def raises(u: torch.Tensor) -> torch.Tensor:
    raise ValueError("no such thing as a spike")


class Slope(torch.nn.Module):
    """A module with a slope, to be stored and copied."""

    def __init__(self, slope: float = 3.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        soft = torch.tanh(u * self.slope)
        return step(u) + soft - soft.detach()


class Forgets(Slope):
    """Loses its slope when pickled."""

    def __reduce__(self) -> Any:
        return Forgets, ()

    def __deepcopy__(self, memo: Any) -> Forgets:
        return Forgets(self.slope)


class Resets(Slope):
    """Loses its slope when copied."""

    def __deepcopy__(self, memo: Any) -> Resets:
        return Resets()


class Holds(Slope):
    """Holds what cannot be stored."""

    def __init__(self) -> None:
        super().__init__()
        self.hook = lambda: None


class OnContext(torch.autograd.Function):
    """Keeps an intermediate on ctx, where a second backward does not see it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return step(u), bump(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, _: Any) -> torch.Tensor:
        return g * ctx.saved_tensors[0]


class InAutocast(torch.autograd.Function):
    """Another backward where autocast is on."""

    @staticmethod
    def forward(u: torch.Tensor) -> torch.Tensor:
        return step(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.scale = 2.0 if torch.is_autocast_enabled("cpu") else 1.0
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * ctx.scale * bump(ctx.saved_tensors[0])


class Overwrites(torch.autograd.Function):
    """Doubles the preactivation in place, and does not tell."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        ctx.factor, y = bump(u), step(u)
        u.mul_(2)
        return y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * ctx.factor


def in_memory_order(g: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    flat = torch.as_strided(u, (u.numel(),), (1,), u.storage_offset())
    return g * bump(flat.reshape(u.shape))


def spends(g: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    return g.mul_(bump(u))


def doubled_when(condition: Callable[[torch.Tensor], bool]) -> Adapted:
    """Twice the gradient where torch is at work in some way, found out by asking."""
    return by_rule(lambda g, u: g * bump(u) * (2.0 if condition(u) else 1.0))


def functorch(u: torch.Tensor) -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None


def mapped(u: torch.Tensor) -> bool:
    levels = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)


HALF = frozenset({"finite-low-precision"})

SHAPES = frozenset({"mass", "bounded", "matches-formula", "support", "symmetric", "strictly-positive", "stuck"})
"""Checks that compare a factor with its formula, each in its own way."""


def related(*names: str) -> frozenset[str]:
    return frozenset(names)


MUTANTS = [
    Mutant("raises in forward", "forward-runs", lambda: ds.adapt(raises)),
    Mutant("returns text", "forward-runs", lambda: ds.adapt(lambda u: "spike")),
    Mutant("no gradient", "backward-runs", lambda: ds.adapt(step)),
    Mutant("raises in backward", "backward-runs", lambda: by_rule(lambda g, u: raises(u))),
    Mutant("a gradient of zeros", "backward-runs", lambda: by_rule(lambda g, u: 0 * g)),
    Mutant("fires late", "forward-exact", lambda: forward_of(lambda u: step(u - 0.001))),
    Mutant("fires weakly", "forward-exact", lambda: forward_of(lambda u: 0.999 * step(u))),
    Mutant("forward leaks the surrogate", "forward-exact", lambda: forward_of(lambda u: step(u) + 1e-4 * u)),
    Mutant("half a spike", "forward-at-centre", lambda: forward_of(lambda u: (torch.sign(u) + 1) / 2)),
    Mutant("two zeros", "forward-at-centre", lambda: forward_of(lambda u: torch.where(u.signbit(), 0 * u, 1 - 0 * u))),
    Mutant("NaN beyond -3.42", "finite", lambda: over(lambda u: torch.where(u < -3.42, torch.nan, bump(u))), HALF),
    Mutant("NaN at one point", "finite", lambda: over(on(0.5, 0.5, lambda u: u / 0)), HALF),
    Mutant(
        "NaN at the subnormals",
        "finite",
        lambda: over(lambda u: torch.where(u.abs() < 1e-38, torch.nan, bump(u))),
        HALF,
    ),
    Mutant(
        "overflows in half precision",
        "finite-low-precision",
        lambda: over(lambda u: bump(u) + torch.where((u > 200) & (u.dtype in {torch.float16}), torch.inf, 0.0)),
    ),
    Mutant("sign flipped", "sign-preserving", lambda: over(lambda u: -bump(u)), related("descent-one-unit")),
    Mutant("sign flipped on [9, 9.009]", "sign-preserving", lambda: over(on(9, 9.009, lambda u: -bump(u)))),
    Mutant("sign flipped on 1e-4 .. 1.001e-4", "sign-preserving", lambda: over(on(1e-4, 1.001e-4, lambda u: -bump(u)))),
    Mutant(
        "positive under a forward that falls",
        "sign-preserving",
        lambda: ds.adapt_factor(bump, forward=torch.abs, name="mutant"),
        related("descent-one-unit"),
    ),
    Mutant(
        "adds noise to the gradient",
        "sign-preserving",
        lambda: by_rule(lambda g, u: g * bump(u) + 0.1 * torch.randn_like(g), random=True),
        related("linear-in-upstream", "descent-one-unit"),
    ),
    Mutant(
        "zero where the formula is not",
        "strictly-positive",
        lambda: over(on(2, 2.5, torch.zeros_like), formula=FORMULA),
        SHAPES,
    ),
    Mutant("grows for ever", "bounded", lambda: over(lambda u: 1 + u.abs())),
    Mutant(
        "higher than its formula",
        "bounded",
        lambda: over(on(-0.1, 0.1, lambda u: 1.2 + 0 * u), formula=FORMULA),
        SHAPES,
    ),
    Mutant(
        "a wider window",
        "support",
        lambda: over(lambda u: 1.0 * (u.abs() <= 0.6), formula=WINDOW),
        SHAPES - {"bounded"},
    ),
    Mutant(
        "one-sided, formula even",
        "symmetric",
        lambda: over(lambda u: torch.where(u > 0, 0.5, 1.0) * bump(u), formula=FORMULA),
        SHAPES,
    ),
    Mutant(
        "even, formula one-sided",
        "symmetric",
        lambda: over(bump, formula=sp.Piecewise((FORMULA, ds.u > 0), (FORMULA / 2, True))),
        SHAPES,
    ),
    Mutant("off by pi", "mass", lambda: over(lambda u: torch.pi * bump(u), formula=FORMULA), SHAPES),
    Mutant(
        "clips the norm",
        "linear-in-upstream",
        lambda: by_rule(lambda g, u: g * bump(u) / (g.norm() + 1)),
        related("elementwise", "vmap", "func-grad"),
    ),
    Mutant("squares the upstream", "linear-in-upstream", lambda: by_rule(lambda g, u: g * g.abs() * bump(u))),
    Mutant(
        "looks at its neighbours",
        "elementwise",
        lambda: over(lambda u: bump(u) * (1.5 + u.clamp(-1, 1).mean())),
        related("vmap", "layout", "double-backward"),
    ),
    Mutant("float32 out", "dtype-preserved", lambda: forward_of(lambda u: step(u).float()), related("autocast")),
    Mutant("float32 inside", "dtype-preserved", lambda: over(lambda u: bump(u.float()).to(u.dtype))),
    Mutant("flattens", "shape-preserved", lambda: ds.adapt(lambda u: Slope()(u).flatten())),
    Mutant("overwrites its input", "layout", lambda: ds.adapt(Overwrites), related("double-backward", "compile")),
    Mutant("overwrites the upstream", "layout", lambda: by_rule(spends), related("double-backward")),
    Mutant("reads memory in order", "layout", lambda: by_rule(in_memory_order), related("vmap")),
    Mutant(
        "numpy's dice",
        "reproducible",
        lambda: over(lambda u: bump(u) * np.random.default_rng().uniform(0.5, 1.5)),
    ),
    Mutant("random, it says", "reproducible", lambda: right(random=True)),
    Mutant("fixed, it says", "reproducible", lambda: over(lambda u: bump(u) * (1 + torch.rand_like(u)), random=False)),
    Mutant(
        "dice of another mean",
        "noise-mean",
        lambda: over(lambda u: bump(u) * torch.rand_like(u) * 1.05, formula=NOISY, random=True),
    ),
    Mutant("alpha ignored", "parameters-matter", lambda: over(lambda u, alpha: bump(u), parameters={"alpha": 100.0})),
    Mutant("one per cent off", "matches-formula", lambda: over(lambda u: 1.01 * bump(u), formula=FORMULA), SHAPES),
    Mutant(
        "one per cent off on [-7.007, -7]",
        "matches-formula",
        lambda: over(on(-7.007, -7, lambda u: 1.01 * bump(u)), formula=FORMULA),
    ),
    Mutant(
        "not the primitive's derivative",
        "matches-primitive",
        lambda: right(primitive=lambda u: 1.5 * u / (1 + u.abs())),
    ),
    Mutant("doubled in func.grad", "func-grad", lambda: doubled_when(functorch), related("vmap", "compile")),
    Mutant("doubled under vmap", "vmap", lambda: doubled_when(mapped)),
    Mutant("doubled when compiled", "compile", lambda: doubled_when(lambda u: torch.compiler.is_compiling())),
    Mutant("an intermediate on ctx", "double-backward", lambda: ds.adapt(OnContext)),
    Mutant("doubled under autocast", "autocast", lambda: ds.adapt(InAutocast)),
    Mutant("forgets its slope when pickled", "pickle", lambda: ds.adapt(Forgets(2.0))),
    Mutant("cannot be pickled", "pickle", lambda: ds.adapt(Holds())),
    Mutant("resets its slope when copied", "deepcopy", lambda: ds.adapt(Resets(2.0))),
    Mutant(
        "uphill for negative errors",
        "descent-one-unit",
        lambda: by_rule(lambda g, u: g.abs() * bump(u)),
        related("linear-in-upstream", "sign-preserving"),
    ),
    Mutant(
        "dead beyond 3",
        "stuck",
        lambda: over(lambda u: torch.where(u.abs() > 3, 0.0, bump(u)), formula=FORMULA),
        SHAPES,
    ),
]
