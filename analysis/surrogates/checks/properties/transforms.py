"""What torch does to a function: func.grad, vmap, compile, a second backward, autocast, pickle, deepcopy.

One rule tells bugs from limits here: a transform that is refused loudly is a note, a wrong answer given silently is a
violation. (An object that cannot be copied or pickled is a violation where it is a module or an instance, which are
there to be stored, and a note where it is a local function, which Python never pickles.)
"""

from __future__ import annotations

import copy
import pickle
import types
from collections.abc import Callable
from typing import Any

import torch

from ...adapters.adapted import first_tensor
from ...adapters.makers import innermost
from ..check import check
from ..record import Record, note, passed, skipped, violation
from ..search import grids
from ..subject import Subject, quiet

CLOSE = 1e-5
HALF = 0.02
"""Relative differences that rounding leaves in float32 and in bfloat16."""


@check()
def func_grad(subject: Subject) -> Record:
    """torch.func.grad of sum phi(u) is the gradient that autograd gives."""
    u = grids.coarse(torch.float64)

    def act() -> Any:
        return torch.func.grad(lambda v: subject.adapted(v).sum())(u.clone())

    then = "print(torch.func.grad(lambda v: f(v).sum())(u.detach()))"
    return _agrees(subject, act, "torch.func.grad", then, "per-sample gradients and meta-learning built on it")


@check()
def vmap(subject: Subject) -> Record:
    """vmap of grad of sum phi over the rows of u gives, row by row, the gradient that autograd gives."""
    u = _rows(grids.coarse(torch.float64))

    def act() -> Any:
        row = torch.func.grad(lambda v: subject.adapted(v).sum())
        return torch.func.vmap(row, randomness="different")(u.clone()).flatten()

    then = "print(torch.func.vmap(torch.func.grad(lambda v: f(v).sum()))(u.detach().reshape(1, -1)))"
    return _agrees(subject, act, "torch.func.vmap", then, "per-sample gradients and ensembles trained as one")


@check(name="compile")
def compiled_alike(subject: Subject) -> Record:
    """torch.compile keeps phi and psi: the compiled function's value and gradient are those of the plain one."""
    u = grids.coarse(torch.float32)
    plain = subject.respond(u)
    torch._dynamo.reset()

    def act() -> Any:
        compiled = torch.compile(lambda v: first_tensor(subject.adapted.apply(v)) * 1.0, backend=subject.backend)
        return subject.respond(u, apply=compiled)

    got, error = _try(subject, act)
    torch._dynamo.reset()
    if error is not None:
        return note(
            f"torch.compile refuses it ({error}): a compiled model falls back or stops there", backend=subject.backend
        )
    compiling = f"g = torch.compile(lambda v: f(v) * 1.0, backend={subject.backend!r})"
    then = f"{compiling}; print(torch.autograd.grad(g(u).sum(), u)[0])"
    if subject.random:
        same = got.y.shape == plain.y.shape and bool(got.gradient.isfinite().all())
        return passed("compiles; its draws are not compared") if same else violation("compiled, it is no longer finite")
    for what, a, b in (("value", plain.y, got.y), ("gradient", plain.gradient, got.gradient)):
        found = _first(u, a, b, CLOSE)
        if found is not None:
            return violation(
                f"torch.compile changes the {what} at {float(u[found]):g} from {float(a[found]):.6g} to "
                f"{float(b[found]):.6g}, without a word: a compiled model trains with another backward",
                u=float(u[found]),
                plain=float(a[found]),
                compiled=float(b[found]),
                backend=subject.backend,
                python=subject.python(float(u[found]), torch.float32, then),
            )
    return passed(f"compiled ({subject.backend}), the same values and gradients")


@check()
def double_backward(subject: Subject) -> Record:
    """d/du of the gradient g psi(u) is g psi'(u), as central differences of the backward itself give it."""
    if subject.random:
        return skipped("a random factor has no derivative to compare with")
    u = grids.coarse(torch.float64)
    u = u[u.abs() <= 16]
    h = 1e-3 if subject.narrow else 1e-5
    below, at, above = (subject.respond(u + shift).gradient for shift in (-h, 0.0, h))
    slope, height = (above - below) / (2 * h), subject.height
    smooth = ((above - at) - (at - below)).abs() <= 1e-3 * ((above - below).abs() + h * height)  # no kink, no jump

    def act() -> Any:
        v, g = u.clone().requires_grad_(), torch.ones_like(u).requires_grad_()
        (first,) = torch.autograd.grad(subject.adapted(v.clone()), v, g, create_graph=True)
        if not first.requires_grad:
            raise RuntimeError("the gradient carries no graph")
        unused: tuple[torch.Tensor | None, ...] = torch.autograd.grad(first.sum(), v, allow_unused=True)
        return torch.zeros_like(u) if unused[0] is None else unused[0]

    got, error = _try(subject, act)
    if error is not None:
        if not bool((slope[smooth].abs() > 1e-3 * height).any()):
            return passed("the factor is piecewise constant: nothing to differentiate again")
        return note(f"a second backward is refused ({error}): gradient penalties and Hessian products are out of reach")
    off = ((got - slope).abs() > 1e-2 * (slope.abs() + 1e-2 * height)) & smooth
    if not bool(off.any()):
        return passed("the second derivative is that of the backward")
    worst = int(torch.where(off, (got - slope).abs(), torch.zeros_like(u)).argmax())
    then = (
        "w = torch.ones_like(u).requires_grad_(); g, = torch.autograd.grad(f(u), u, w, create_graph=True); "
        "print(torch.autograd.grad(g.sum(), u, allow_unused=True))"
    )
    return violation(
        f"a second backward silently gives {float(got[worst]):.4g} at {float(u[worst]):g} where the gradient's slope "
        f"is {float(slope[worst]):.4g}: gradient penalties and Hessian products are wrong",
        u=float(u[worst]),
        second=float(got[worst]),
        slope=float(slope[worst]),
        python=subject.python(float(u[worst]), torch.float64, then),
    )


@check()
def autocast(subject: Subject) -> Record:
    """Under autocast to bfloat16, behind a linear layer, phi and psi are those of the rounded preactivation."""
    u = grids.coarse(torch.bfloat16)
    u = u[u.abs() <= 64]
    plain = subject.respond(u.float())

    def act() -> Any:
        weight = torch.ones(1, 1, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inner = torch.nn.functional.linear(u.float().unsqueeze(1), weight)
            y = subject.adapted(inner)
            total = y.float().sum()
        (gradient,) = torch.autograd.grad(total, inner)
        return gradient.float().flatten()

    got, error = _try(subject, act)
    if error is not None:
        return note(f"refused under autocast ({error}): it cannot be trained in mixed precision")
    then = (
        "f32 = u.detach().float().reshape(-1, 1); w = torch.ones(1, 1, requires_grad=True)\n"
        "with torch.autocast('cpu', dtype=torch.bfloat16): v = torch.nn.functional.linear(f32, w); s = "
        "f(v).float().sum()\nprint(torch.autograd.grad(s, v)[0])"
    )
    if subject.random:
        return passed("runs under autocast") if bool(got.isfinite().all()) else violation("not finite under autocast")
    height = subject.height
    off = ~((got - plain.gradient).abs() <= HALF * (plain.gradient.abs() + height)) & plain.gradient.isfinite()
    if not bool(off.any()):
        return passed("under autocast to bfloat16, the gradient of the rounded preactivation")
    at = int(torch.where(off, u.abs().float(), torch.inf).argmin())
    return violation(
        f"under autocast the gradient at {float(u[at]):g} is {float(got[at]):.4g} instead of "
        f"{float(plain.gradient[at]):.4g}: mixed-precision training goes another way",
        u=float(u[at]),
        autocast=float(got[at]),
        plain=float(plain.gradient[at]),
        python=subject.python(float(u[at]), torch.bfloat16, then),
    )


@check(name="pickle")
def pickled(subject: Subject) -> Record:
    """loads(dumps(f)) behaves as f."""
    return _carried(subject, "pickle", lambda apply: pickle.loads(pickle.dumps(apply)))


@check(name="deepcopy")
def copied(subject: Subject) -> Record:
    """deepcopy(f) behaves as f."""
    return _carried(subject, "deepcopy", copy.deepcopy)


def _carried(subject: Subject, name: str, carry: Callable[[Any], Any]) -> Record:
    """The callable, carried over, against itself."""
    u = grids.coarse(torch.float64)
    plain = subject.respond(u)
    how = "g = copy.deepcopy(f.apply)" if name == "deepcopy" else "g = pickle.loads(pickle.dumps(f.apply))"
    line = f"import copy, pickle, torch; {subject.adapted.recipe}; {how}"
    got, error = _try(subject, lambda: carry(subject.adapted.apply))
    if error is not None:
        local = isinstance(innermost(subject.adapted.apply), types.FunctionType | types.MethodType | type)
        if local:
            why = (
                f"{name} refuses a local function or class ({error}): a model that holds it is stored by its state_dict"
            )
            return note(why, error=error, python=line)
        why = f"{name} fails ({error}): a model that holds it cannot be stored whole, copied or sent to a worker"
        return violation(why, error=error, python=line)
    if not subject.seeded:
        return passed(f"{name} works; what draws without a seed is not compared")
    after = subject.respond(u, apply=got)
    for what, a, b in (("value", plain.y, after.y), ("gradient", plain.gradient, after.gradient)):
        found = _first(u, a, b, 0.0)
        if found is not None:
            at = float(u[found])
            then = f"{how}; print(torch.autograd.grad(f(u).sum(), u)[0], torch.autograd.grad(g(u).sum(), u)[0])"
            return violation(
                f"after {name} the {what} at {at:g} is {float(b[found]):.6g} instead of {float(a[found]):.6g}: a "
                f"stored or copied model trains on with another backward",
                u=at,
                before=float(a[found]),
                after=float(b[found]),
                python=subject.python(at, torch.float64, f"import copy, pickle; {then}"),
            )
    return passed(f"the same after {name}")


def _agrees(subject: Subject, act: Callable[[], Any], name: str, then: str, used_for: str) -> Record:
    """A transformed gradient on the coarse float64 points against autograd's."""
    u = grids.coarse(torch.float64)
    plain = subject.respond(u).gradient
    got, error = _try(subject, act)
    if error is not None:
        return note(f"refused by {name} ({error}): {used_for} are out of reach, ordinary training is not touched")
    got = got.flatten()[: len(u)]
    if subject.random:
        fine = bool(got.isfinite().all())
        return (
            passed(f"runs under {name}; its draws are not compared") if fine else violation(f"not finite under {name}")
        )
    found = _first(u, plain, got, CLOSE)
    if found is None:
        return passed(f"the same gradient under {name}")
    return violation(
        f"{name} silently gives {float(got[found]):.6g} at {float(u[found]):g} where autograd gives "
        f"{float(plain[found]):.6g}: {used_for} are wrong",
        u=float(u[found]),
        autograd=float(plain[found]),
        transformed=float(got[found]),
        python=subject.python(float(u[found]), torch.float64, then),
    )


def _first(u: torch.Tensor, a: torch.Tensor, b: torch.Tensor, tolerance: float) -> int | None:
    """Index of the point of least magnitude at which two answers differ."""
    same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= tolerance * torch.maximum(a.abs(), b.abs()))
    return None if bool(same.all()) else int(torch.where(same, torch.inf, u.abs().double()).argmin())


def _rows(u: torch.Tensor) -> torch.Tensor:
    """The points in rows of eight, the last row filled up."""
    return torch.cat([u, u[: -len(u) % 8]]).reshape(-1, 8)


def _try(subject: Subject, act: Callable[[], Any]) -> tuple[Any, str | None]:
    """The answer, or the error's first line: here a refusal is what is asked for, of whatever kind."""
    with quiet(subject.seed):
        try:
            return act(), None
        except (Exception, SystemExit) as error:
            first = (str(error).strip().splitlines() or [""])[0][:160]
            return None, f"{type(error).__name__}: {first}"
