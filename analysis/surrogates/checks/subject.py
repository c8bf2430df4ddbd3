"""The surrogate under test: its responses, seeded and remembered, so that thirty checks cost a few evaluations.

Every call into the user's code goes through `Subject.respond`; what that code raises becomes `TargetRaised` and so
stays apart from a defect of ours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from ..adapters.adapted import Adapted, TensorFunction, first_tensor
from .search import grids, reference

Found = TypeVar("Found")


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """Torch's generator seeded and put back afterwards; the user's code may warn, which is no finding."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.default_generator.set_state(state)


class TargetRaised(Exception):
    """The user's code raised, or gave back what is no answer; quotes the error."""

    def __init__(self, stage: str, error: BaseException) -> None:
        lines = str(error).strip().splitlines() or [""]
        super().__init__(f"{type(error).__name__}: {' '.join(lines[:2])}"[:300])
        self.stage = stage


class Undefined(Exception):
    """There is nothing that the question could be asked of; says which check tells why."""


class Response(NamedTuple):
    """The preactivation, the forward's value and the gradient that came back."""

    u: torch.Tensor
    y: torch.Tensor
    gradient: torch.Tensor


class Subject:
    """An `Adapted` with a seed, and what has been found out about it so far."""

    def __init__(self, adapted: Adapted, seed: int = 0, backend: str = "aot_eager", examples: int = 25) -> None:
        self.adapted = adapted
        self.seed = seed
        self.backend = backend
        self.examples = examples
        self._on_grid: dict[torch.dtype, Response] = {}
        self._remembered: dict[str, Any] = {}

    def generator(self) -> torch.Generator:
        """For our own draws, apart from the generator that the user's code draws from: equal draws would hide much."""
        return torch.Generator().manual_seed(self.seed + 104_729)

    def remember(self, key: str, find: Callable[[], Found]) -> Found:
        """What ``find`` gives, found once."""
        if key not in self._remembered:
            self._remembered[key] = find()
        found: Found = self._remembered[key]
        return found

    def forward(
        self, preactivation: torch.Tensor, *, seed: int = 0, apply: TensorFunction | None = None
    ) -> torch.Tensor:
        """y, with torch's generator seeded by the run's seed and ``seed``."""
        with quiet(self.seed + seed):
            return self._forward(preactivation.clone(), apply)

    def respond(
        self,
        preactivation: torch.Tensor,
        upstream: torch.Tensor | None = None,
        *,
        seed: int = 0,
        apply: TensorFunction | None = None,
    ) -> Response:
        """y and the gradient at ``u`` for an upstream gradient (ones where left out).

        Raises:
            TargetRaised: the user's forward or backward raised, gave no tensor, or passed no gradient on.
        """
        leaf = preactivation.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        with torch.enable_grad():
            inner = leaf.clone()
        sent = None if upstream is None else upstream.clone()
        return self.respond_at(leaf, inner, sent, seed=seed, apply=apply)

    def respond_at(
        self,
        leaf: torch.Tensor,
        inner: torch.Tensor,
        upstream: torch.Tensor | None = None,
        *,
        seed: int = 0,
        apply: TensorFunction | None = None,
    ) -> Response:
        """The same at ``inner``, a function of ``leaf``: what the user's code writes into it can be seen afterwards."""
        with quiet(self.seed + seed), torch.enable_grad():
            y = self._forward(inner, apply)
            if not y.requires_grad:
                raise TargetRaised(
                    "backward", RuntimeError("the value does not require grad: autograd cannot see through it")
                )
            try:
                sent = torch.ones_like(y) if upstream is None else upstream
                (gradient,) = torch.autograd.grad(y, leaf, sent, allow_unused=True)
            except (Exception, SystemExit) as error:
                raise TargetRaised("backward", error) from error
        if gradient is None:
            raise TargetRaised(
                "backward", RuntimeError("the gradient is None: the value does not depend on the preactivation")
            )
        return Response(leaf.detach(), y.detach(), gradient.detach())

    def _forward(self, preactivation: torch.Tensor, apply: TensorFunction | None) -> torch.Tensor:
        try:
            y = self.adapted(preactivation) if apply is None else first_tensor(apply(preactivation))
        except (Exception, SystemExit) as error:
            raise TargetRaised("forward", error) from error
        if not isinstance(y, torch.Tensor):
            raise TargetRaised("forward", TypeError(f"it returned a {type(y).__name__}, not a tensor"))
        if not y.is_floating_point():
            raise TargetRaised("forward", TypeError(f"it returned a {short(y.dtype)} tensor, which has no gradient"))
        return y

    def grid(self, dtype: torch.dtype) -> torch.Tensor:
        """Where to look in a dtype, the formula's break points and the threshold included; ascending."""
        if dtype in grids.WHOLE:
            return grids.whole(dtype)
        extra = grids.around([*grids.breaks(self.adapted.formula), self.adapted.centre], dtype)
        return torch.sort(torch.cat([grids.dense(dtype), extra]), stable=True).values

    def on_grid(self, dtype: torch.dtype) -> Response:
        """The response on the whole grid of a dtype, computed once."""
        if dtype not in self._on_grid:
            self._on_grid[dtype] = self.respond(self.grid(dtype))
        return self._on_grid[dtype]

    @cached_property
    def seeded(self) -> bool:
        """Whether the same seed of torch's generator gives the same forward and backward."""
        return _equal(self._probe(seed=0), self._probe(seed=0))

    @cached_property
    def narrow(self) -> bool:
        """Whether a float64 gradient holds float32 numbers only: the backward computes in lower precision."""
        gradient = self.respond(grids.coarse(torch.float64) + 1 / 7919).gradient
        kept = gradient[gradient.isfinite()]
        return len(torch.unique(kept)) > 32 and torch.equal(kept.float().double(), kept)

    @cached_property
    def random(self) -> bool:
        """Whether forward or backward draws, as seen."""
        return not self.seeded or not all(_equal(self._probe(seed=0), self._probe(seed=seed)) for seed in (1, 2, 3))

    @cached_property
    def random_forward(self) -> bool:
        """Whether the forward draws."""
        return not all(torch.equal(self._probe(seed=0).y, self._probe(seed=seed).y) for seed in (0, 1, 2, 3))

    def _probe(self, seed: int) -> Response:
        return self.respond(grids.coarse(torch.float64), seed=seed)

    def expected_forward(self, preactivation: torch.Tensor) -> torch.Tensor:
        """The declared forward, or the surrogate's own where none is declared."""
        declared = self.adapted.expected_forward(preactivation.clone())
        return self.forward(preactivation) if declared is None else declared.detach()

    @cached_property
    def direction(self) -> int:
        """1 where the forward never falls, -1 where it never rises, 0 where it does both (or draws, undeclared)."""
        if self.adapted.forward is None and self.random_forward:
            return 1
        inner = grids.dense(torch.float64)
        inner = inner[inner.abs() <= 1e6]
        y = self.expected_forward(inner).double()
        allowed = 1e-9 * (1 + y.abs())
        if bool((y >= torch.cummax(y, 0).values - allowed).all()):
            return 1
        return -1 if bool((y <= torch.cummin(y, 0).values + allowed).all()) else 0

    def orientation(self, preactivation: torch.Tensor) -> torch.Tensor:
        """The sign that the factor may have at each u: the forward's direction, or its own slope's sign; 0 = no say."""
        u = preactivation.double()
        if self.direction:
            return torch.full_like(u, self.direction)
        h = 1e-3 * u.abs().clamp(min=1e-3)
        below, at, above = (self.expected_forward(point).double() for point in (u - h, u, u + h))
        allowed = 1e-12 * (1 + at.abs())
        falls, rises = at - below, above - at
        agree = torch.sign(falls) * ((falls * rises > 0) & (falls.abs() > allowed) & (rises.abs() > allowed))
        return agree.nan_to_num()

    @property
    def keeps_shape(self) -> bool:
        """Whether a vector comes back as a vector of the same length."""
        u = grids.coarse(torch.float64)
        return self.forward(u).shape == u.shape

    @cached_property
    def height(self) -> float:
        """sup |psi| over the finite gradients on the float64 grid.

        Raises:
            Undefined: none is finite.
        """
        gradient = self.on_grid(torch.float64).gradient
        finite = gradient[gradient.isfinite()]
        if not len(finite):
            raise Undefined("no gradient is finite: see finite")
        return float(finite.abs().max())

    @cached_property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """(u, factor) in float64 with both sides of every jump that was seen, ascending: fit to integrate over."""
        u, _, factor = self.on_grid(torch.float64)
        keep = (u.abs() <= 1e30) & factor.isfinite()
        u, factor, height = u[keep], factor[keep], self.height
        at = torch.nonzero((factor.diff().abs() > 0.01 * height) & (u.diff() < 0.01)).flatten()[:256]
        left, right, low, high = u[at], u[at + 1], factor[at], factor[at + 1]
        for _ in range(60 if len(at) else 0):
            middle = (left + right) / 2
            value = self.respond(middle).gradient
            nearer_left = (value - low).abs() < (value - high).abs()
            left, low = torch.where(nearer_left, middle, left), torch.where(nearer_left, value, low)
            right, high = torch.where(nearer_left, right, middle), torch.where(nearer_left, high, value)
        sides = grids.around(torch.cat([left, right]).tolist(), torch.float64)
        points = torch.cat([u, sides]).numpy()
        values = torch.cat([factor, self.respond(sides).gradient if len(sides) else sides]).numpy()
        order = np.argsort(points, kind="stable")
        return points[order], values[order]

    @cached_property
    def documented(self) -> np.ndarray | None:
        """The formula's values at `nodes`, by code that shares nothing with the package's own tensor code."""
        if self.adapted.formula is None or reference.is_random(self.adapted.formula):
            return None
        return reference.values(self.adapted.formula, self.nodes[0])

    def documented_at(self, point: float) -> float:
        """The formula at one point, from 50 digits."""
        assert self.adapted.formula is not None
        return reference.precise(self.adapted.formula, [point])[0]

    def example(self, point: float, dtype: torch.dtype) -> dict[str, Any]:
        """The counterexample at one preactivation: what comes back there, and the line that shows it."""
        gradient = float(self.respond(torch.tensor([point], dtype=dtype)).gradient)
        return {"u": point, "dtype": short(dtype), "gradient": gradient, "python": self.python(point, dtype)}

    def python(self, preactivation: Any, dtype: torch.dtype = torch.float32, then: str = "") -> str:
        """A line that rebuilds the surrogate and prints what it does at ``u``."""
        u = f"torch.tensor({_written(preactivation)}, dtype={dtype}, requires_grad=True)"
        seeded = f"torch.manual_seed({self.seed}); " if self.random else ""
        act = then or "print(torch.autograd.grad(f(u).sum(), u)[0])"
        return f"import torch; {self.adapted.recipe}; u = {u}; {seeded}{act}"


def short(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def _written(value: Any) -> str:
    """Numbers as Python reads them back."""
    text = repr(value.tolist() if isinstance(value, torch.Tensor) else [value] if isinstance(value, float) else value)
    return text.replace("nan", "float('nan')").replace("inf", "float('inf')")


def _equal(a: Response, b: Response) -> bool:
    same = [torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(a, b, strict=True)]
    return all(same)
